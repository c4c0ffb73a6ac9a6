"""No input makes the filter trap, and after any input the next good request passes (promise 4).

Envoys here run with FAIL_CLOSED: one trap would turn every later request into a 503, so the good request that
`refuses` and `passes` send behind each hostile one is the real assertion.
"""

import base64
import json
from functools import partial

import pytest

from harness import client, signer
from harness.client import Request, Response
from harness.gateway import Gateway

SECRET = "a-secret-that-is-32-characters-x"
KEY = b"24-bytes-of-svix-key----"
TOKEN = "a-token-of-some-length"
BODY = b'{"event": "x"}'
ENV = {"SECRET": SECRET, "SVIX": signer.svix_secret(KEY), "TOKEN": TOKEN}
ODD = b"\xff\xfe"


def policy(name: str, require: dict) -> dict:
    return {"name": name, "match": {"path": {"prefix": f"/{name}"}}, "require": require}


def signed(provider: str, env: str = "SECRET") -> dict:
    return policy(provider, {"signature": {"provider": provider, "secrets": [{"env": env}]}})


CONFIG = {"policies": [
    signed("github"), signed("slack"), signed("stripe"), signed("svix", "SVIX"),
    policy("query", {"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}}),
    policy("bearer", {"token": {"bearer": True, "secrets": [{"env": "TOKEN"}]}}),
    policy("basic", {"token": {"basic": {"username": "hook"}, "secrets": [{"env": "TOKEN"}]}}),
]}
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])


def good() -> Request:
    return Request(b"/github", signer.github(SECRET, BODY), BODY)


def with_signature(value: bytes) -> Request:
    return Request(b"/github", [(b"x-hub-signature-256", value)], BODY)


def slack_at(stamp: bytes) -> Request:
    digest = signer.mac(SECRET, b"v0:" + stamp + b":", BODY).hex().encode()
    return Request(b"/slack", [(b"x-slack-request-timestamp", stamp), (b"x-slack-signature", b"v0=" + digest)], BODY)


def stripe_items(items: list[bytes]) -> Request:
    return Request(b"/stripe", [(b"stripe-signature", b",".join(items))], BODY)


@pytest.fixture(scope="module")
def gateway():
    # Envoy lets the client choose the request id and sends 1 MiB of headers on: all of it has to reach the guard.
    hcm = {"preserve_external_request_id": True, "max_request_headers_kb": 1024}
    with Gateway(CONFIG, good=good, env=ENV, hcm=hcm) as gateway:
        yield gateway


PASSING = {
    "odd-bytes-in-another-header": good().again(headers=[*good().headers, (b"x-other", ODD)]),
    "odd-bytes-in-authorization": good().again(headers=[*good().headers, (b"authorization", b"Bearer " + ODD)]),
    "odd-bytes-in-a-header-twice": good().again(headers=[*good().headers, (b"x-other", ODD), (b"x-other", ODD)]),
    "empty-header": good().again(headers=[*good().headers, (b"x-other", b"")]),
    "query-of-escapes": good().again(target=b"/github?a=%00&b=%ff%fe&c=%zz&%=%&=&&"),
    "path-of-60-KiB": good().again(target=b"/github/" + b"a" * 60_000),
    "path-of-30000-segments": good().again(target=b"/github" + b"/a" * 30_000),
    "query-of-50-KiB": good().again(target=b"/github?" + b"a=1&" * 12_800),
}


@BOTH
@pytest.mark.parametrize("request_", PASSING.values(), ids=PASSING.keys())
def test_odd_but_harmless_input_passes_untouched(gateway, send, request_):
    gateway.passes(request_.again(), send)


REFUSED = {
    "signature-of-odd-bytes": (with_signature(ODD), "signature_malformed"),
    "signature-of-odd-bytes-behind-the-prefix": (with_signature(b"sha256=" + ODD * 32), "signature_malformed"),
    "signature-empty": (with_signature(b""), "signature_malformed"),
    "signature-only-prefix": (with_signature(b"sha256="), "signature_malformed"),
    "signature-of-odd-length": (with_signature(b"sha256=abc"), "signature_malformed"),
    "signature-too-short": (with_signature(b"sha256=abcd"), "signature_mismatch"),
    "signature-of-50-KiB": (with_signature(b"sha256=" + b"ab" * 25_000), "signature_mismatch"),
    "authorization-of-odd-bytes": (Request(b"/bearer", [(b"authorization", ODD)]), "token_missing"),
    "bearer-of-odd-bytes": (Request(b"/bearer", [(b"authorization", b"Bearer " + ODD)]), "token_mismatch"),
    "bearer-empty": (Request(b"/bearer", [(b"authorization", b"")]), "token_missing"),
    "basic-of-odd-bytes": (Request(b"/basic", [(b"authorization", b"Basic " + ODD)]), "token_mismatch"),
    "basic-that-decodes-to-odd-bytes": (Request(b"/basic", [(b"authorization", b"Basic //79/v8=")]), "token_mismatch"),
    "token-of-NUL": (Request(b"/query?token=%00", []), "token_mismatch"),
    "token-of-odd-escapes": (Request(b"/query?token=%ff%fe", []), "token_mismatch"),
    "token-of-a-broken-escape": (Request(b"/query?token=%z", []), "token_mismatch"),
    "token-of-50-KiB": (Request(b"/query?token=" + b"a" * 50_000, []), "token_mismatch"),
    "token-10000-times": (Request(b"/query?" + b"token=a&" * 10_000, []), "token_ambiguous"),
    "timestamp-of-40-digits": (slack_at(b"9" * 40), "timestamp_malformed"),
    "timestamp-just-over-64-bits": (slack_at(b"18446744073709551616"), "timestamp_malformed"),
    "timestamp-of-i64-max": (slack_at(b"9223372036854775807"), "timestamp_malformed"),
    "timestamp-zero": (slack_at(b"0"), "timestamp_stale"),
    "timestamp-negative": (slack_at(b"-1"), "timestamp_malformed"),
    "timestamp-with-a-plus": (slack_at(b"+%d" % signer.now()), "timestamp_malformed"),
    "timestamp-fraction": (slack_at(b"%d.0" % signer.now()), "timestamp_malformed"),
    "timestamp-in-other-digits": (slack_at("١٧٦٣٩٣٠٠٠٠".encode()), "timestamp_malformed"),
    "timestamp-of-odd-bytes": (slack_at(ODD), "timestamp_malformed"),
    "timestamp-empty": (slack_at(b""), "timestamp_malformed"),
    "stripe-without-a-timestamp": (stripe_items([b"v1=" + b"0" * 64]), "timestamp_missing"),
    "stripe-of-commas": (stripe_items([b""] * 10_000), "signature_malformed"),
    "stripe-10000-timestamps": (stripe_items([b"t=1"] * 10_000), "signature_malformed"),
    "stripe-of-odd-bytes": (stripe_items([b"t=" + ODD, b"v1=" + ODD]), "signature_malformed"),
}


@BOTH
@pytest.mark.parametrize("request_, reason", REFUSED.values(), ids=REFUSED.keys())
def test_hostile_input_is_refused_with_a_reason(gateway, send, request_, reason):
    gateway.refuses(request_.again(), reason, send=send)


DECOYS = [b"%064x" % n for n in range(10_000)]
SVIX_DECOYS = [base64.b64encode(b"%032x" % n) for n in range(10_000)]


def test_the_true_one_of_16_candidates_counts(gateway):
    gateway.passes(Request(b"/stripe", signer.stripe(SECRET, BODY, decoys=DECOYS[:15]), BODY))
    gateway.passes(Request(b"/svix", signer.svix(KEY, BODY, decoys=SVIX_DECOYS[:15]), BODY))


def test_the_true_one_behind_10000_candidates_is_not_looked_for(gateway):
    # Over HTTP/1.1 alone: Envoy's HTTP/2 codec bounds a header block well below these 600 kB.
    gateway.refuses(Request(b"/stripe", signer.stripe(SECRET, BODY, decoys=DECOYS), BODY), "signature_mismatch")
    gateway.refuses(Request(b"/svix", signer.svix(KEY, BODY, decoys=SVIX_DECOYS), BODY), "signature_mismatch")


def test_10000_undecodable_candidates_are_survived(gateway):
    gateway.refuses(stripe_items([b"t=%d" % signer.now(), *[b"v1=zz"] * 10_000]), "signature_malformed")


@BOTH
@pytest.mark.parametrize("id_", [ODD, b'"},{"a":"', b"\\u0000", b"", b"i" * 20_000], ids=["odd", "quotes", "escape", "empty", "long"])
def test_a_hostile_request_id_leaves_the_reply_valid(gateway, send, id_):
    """The reply echoes the id, so it must not become a way to write into the JSON; invalid bytes have no required form."""
    request = Request(b"/github", [(b"x-request-id", id_)], BODY)
    mark = gateway.upstream.mark()
    response = send(gateway.envoy.port, request)
    assert gateway.envoy.record(request.test_id)["reason"] == "signature_missing"
    reply = json.loads(response.body)
    assert (response.status, set(reply), reply["error"]) == (401, {"error", "request_id"}, "Unauthorized")
    assert gateway.upstream.delta(mark).bytes == 0
    gateway.passes_good()


def test_grpc_gets_no_byte_through(gateway):
    """Envoy turns any local reply to gRPC into a 200 with a grpc-status; the verdict has to be read elsewhere."""
    request = Request(b"/github", [(b"content-type", b"application/grpc")], BODY)
    mark = gateway.upstream.mark()
    client.h2_send(gateway.envoy.port, request)
    assert gateway.envoy.record(request.test_id)["reason"] == "signature_missing"
    assert gateway.upstream.delta(mark).bytes == 0
    gateway.passes_good()


def framed(framing: list[tuple[bytes, bytes]], body: bytes, port: int) -> Response:
    return client.h1(port, good(), framing, [body])


CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LIES = {
    "length-too-small": ([(b"content-length", b"5")], BODY),
    "length-zero-with-a-body": ([(b"content-length", b"0")], BODY),
    "length-negative": ([(b"content-length", b"-1")], BODY),
    "length-of-40-digits": ([(b"content-length", b"9" * 40)], BODY),
    "length-over-the-limit-and-no-body": ([(b"content-length", b"99999999")], b""),
    "length-empty": ([(b"content-length", b"")], BODY),
    "length-hexadecimal": ([(b"content-length", b"0xe")], BODY),
    "length-twice-differently": ([(b"content-length", b"14"), (b"content-length", b"5")], BODY),
    "length-and-chunked": ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], CHUNK),
    "chunk-size-broken": ([(b"transfer-encoding", b"chunked")], b"zz\r\n" + BODY),
    "chunk-size-of-40-digits": ([(b"transfer-encoding", b"chunked")], b"f" * 40 + b"\r\n" + BODY),
    "transfer-encoding-unknown": ([(b"transfer-encoding", b"gzip, chunked")], CHUNK),
}


@pytest.mark.parametrize("framing, body", LIES.values(), ids=LIES.keys())
def test_a_lie_about_the_length_gets_no_byte_through(gateway, framing, body):
    gateway.drops(partial(framed, framing, body))


def test_a_length_that_h2_data_contradicts_gets_no_byte_through(gateway):
    for length in (b"5", b"5000"):
        request = good()
        lying = request.again(headers=[*request.headers, (b"content-length", length)])
        gateway.drops(lambda port, lying=lying: client.h2_send(port, lying))


def test_a_sender_that_leaves_mid_body_leaves_no_byte(gateway):
    mark, request = gateway.upstream.mark(), good()
    client.leave(gateway.envoy.port, request, [(b"content-length", b"14")], BODY[:5])
    gateway.envoy.record(request.test_id)
    assert gateway.upstream.delta(mark).bytes == 0
    gateway.passes_good()


def test_nothing_trapped(gateway):
    """Runs last in this module: after all of the above the one VM of the worker is still the first one."""
    assert "wasm_fail_stream" not in {record["details"] for record in gateway.envoy.access_log()}
    assert "panicked" not in gateway.envoy.log_text()
