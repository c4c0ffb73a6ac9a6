"""Report mode: what would be refused is forwarded and recorded, never called verified, and nothing else is loosened."""

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.gateway import Gateway

SECRET, TOKEN = "a-secret-that-is-32-characters-x", "a-token-of-some-length"
ENV = {"SECRET": SECRET, "TOKEN": TOKEN}
SIGNED = {"signature": {"provider": "slack", "secrets": [{"env": "SECRET", "id": "key"}]}}
WITH_TOKEN = {"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}}
AWAY = {"source_ip": {"allow": ["10.0.0.0/8"]}}


def policy(name: str, require: dict, mode: str, **more: object) -> dict:
    return {"name": name, "match": {"path": {"prefix": f"/{name}"}}, "require": require, "mode": mode} | more


CONFIG = {"policies": [
    policy("signed", SIGNED, "report"),
    policy("token", WITH_TOKEN, "report"),
    policy("away", AWAY, "report"),
    policy("small", AWAY | SIGNED, "report", max_body_bytes=100, content_types=["application/json"]),
    policy("sized", WITH_TOKEN, "report", max_body_bytes=100),
    policy("either", {"any_of": [AWAY, SIGNED]}, "report"),
    policy("signed/enforced", SIGNED, "enforce"),
    policy("enforced", AWAY, "enforce"),
]}
for entry in CONFIG["policies"]:
    entry["name"] = entry["name"].replace("/", "-")


def to(path: str, headers: client.Headers | None = None, body: bytes = b'{"a": 1}', **more: object) -> Request:
    return Request(path.encode(), headers or [], body, **more)


def slack(path: str, body: bytes = b'{"a": 1}', **more: int) -> Request:
    return to(path, signer.slack(SECRET, body, **more), body)


@pytest.fixture(scope="module", params=[True, False], ids=["held", "buffer-behind"])
def gateway(request):
    tags = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]
    with Gateway(CONFIG, good=lambda: slack("/signed/enforced"), env=ENV, hold=request.param, stats_tags=tags) as gateway:
        gateway.holds = request.param
        yield gateway


ALL = [client.h1_length, client.h1_chunked, client.h2_send, client.FRAMINGS["h2-trailers"]]
SENDS = pytest.mark.parametrize("send", ALL, ids=["h1-length", "h1-chunked", "h2", "h2-trailers"])
# The framings of which the application is told the verdict where the head is not held: all, if no byte of the body is
# needed for it; those that declare its length, if nothing but that is; else none, for the head goes before the body.
DECLARED, NONE = [client.h1_length], []

REPORTED = {  # a request, the reason for which it would have been refused, and who is told so though the head is gone
    "not-signed": (lambda: to("/signed"), "signature_missing", NONE),
    "forged": (lambda: slack("/signed").again(body=b'{"a": 2}'), "signature_mismatch", NONE),
    "stale": (lambda: slack("/signed", at=signer.now() - 400), "timestamp_stale", NONE),
    "empty": (lambda: to("/signed", body=b""), "signature_missing", NONE),
    "wrong-token": (lambda: to("/token?a=1&token=wrong"), "token_mismatch", ALL),
    "no-token": (lambda: to("/token?a=1"), "token_missing", ALL),
    "elsewhere": (lambda: to("/away"), "source_ip_not_allowed", ALL),
    "wrong-method": (lambda: to("/signed", method=b"PUT"), "method_not_allowed", NONE),
    "wrong-type": (lambda: slack("/small"), "content_type_not_allowed", NONE),
    "encoded": (lambda: to("/signed", [(b"content-encoding", b"gzip")]), "content_encoding_not_allowed", NONE),
    "too-large": (lambda: to(f"/sized?token={TOKEN}", body=b"x" * 5000), "body_too_large", DECLARED),
    "no-branch": (lambda: to("/either"), "no_alternative_held", NONE),
}


@SENDS
@pytest.mark.parametrize("make, reason, told", REPORTED.values(), ids=REPORTED.keys())
def test_what_would_be_refused_is_forwarded_and_recorded(gateway, send, make, reason, told):
    request = make()
    name = request.target[1:].split(b"?")[0].decode()
    labels = {"policy": name, "verdict": "report", "reason": reason}
    before = gateway.envoy.metric("webhook_guard_requests_total", **labels)
    stripped = request.target.replace(f"token={TOKEN}".encode(), b"").replace(b"&token=wrong", b"").rstrip(b"?")
    exchange = gateway.passes(request, send, verdict="report", reason=reason, target=stripped)
    assert exchange.record["policy"] == name
    assert exchange.identity.get("verdict") == (b"reported" if gateway.holds or send in told else None)
    assert gateway.envoy.metric("webhook_guard_requests_total", **labels) == before + 1
    line = gateway.envoy.wait_for_log(f"verdict=report reason={reason} policy={name} request_id={exchange.record['request_id']}")
    assert "[info]" in line


@SENDS
def test_what_holds_is_verified_under_a_policy_that_reports(gateway, send):
    """The header says `verified` where all checks held: the mode is what is done with a refusal."""
    exchange = gateway.passes(slack("/signed"), send)
    assert exchange.identity.get("verdict") == (b"verified" if gateway.holds else None)
    assert gateway.passes(slack("/either"), send).record["secret_id"] == "key"
    # The body is not judged, but where its length is not declared it has to end first; the head may be gone by then.
    exchange = gateway.passes(to(f"/token?token={TOKEN}"), send, target=b"/token")
    assert exchange.identity.get("verdict") == (b"verified" if gateway.holds or send in DECLARED else None)


@SENDS
def test_a_sender_cannot_call_itself_verified(gateway, send):
    for make, reason, _ in REPORTED["forged"], REPORTED["no-token"]:
        request = make()
        request = request.again(headers=[*request.headers, (b"x-webhook-guard-verdict", b"verified"), (b"x_webhook_guard_verdict", b"verified")])
        identity = gateway.passes(request, send, verdict="report", reason=reason).identity
        assert b"verified" not in identity.values()


@SENDS
def test_another_policy_is_not_loosened(gateway, send):
    gateway.refuses(slack("/signed/enforced").again(body=b"other"), "signature_mismatch", send=send)
    gateway.refuses(to("/enforced"), "source_ip_not_allowed", send=send)


@SENDS
def test_the_default_deny_is_not_loosened(gateway, send):
    gateway.refuses(to("/"), "no_policy", send=send)
    gateway.refuses(to("/signedx"), "no_policy", send=send)
    gateway.refuses(to("/signed/..%2fenforced"), "path_malformed", send=send)
