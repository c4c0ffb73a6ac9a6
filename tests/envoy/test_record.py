"""What a policy with `record` keeps of a request: body, digest and headers, as filter state, through a real access log.

Whatever a body holds, a line of the log stays one line and a receiver of OpenTelemetry records gets text that is UTF-8;
what is delivered stays what was sent.
"""

import base64
import hashlib
import json
import threading
from functools import partial

import pytest
import yaml

from harness import client, shipped, signer, upstream
from harness.client import FRAMINGS, Request
from harness.collector import Collector
from harness.envoy import Bootstrap, bootstrap
from harness.gateway import Gateway
from harness.streams import Streams

KEY, TOKEN = "the-key-of-the-hook-0123456789", "s3cret-T0ken-of-the-hook"
ENV = {"KEY": KEY, "TOKEN": TOKEN}
MOST = 4096
SIGNATURE = {"signature": {"provider": "github", "secrets": [{"env": "KEY"}]}}
IN_QUERY = {"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}}


def policy(name: str, require: object, record: dict | None, **more: object) -> dict:
    return {"name": name, "match": {"path": f"/{name}"}, "require": require} | ({"record": record} if record else {}) | more


CONFIG = {"policies": [
    policy("all", SIGNATURE, {"body": "all", "max_body_bytes": MOST, "headers": ["x-event", "authorization", "cookie", "x-hook-token", "x-odd"]}, max_body_bytes=65536),
    policy("refused", SIGNATURE, {"body": "refused"}),
    policy("accepted", SIGNATURE, {"body": "accepted"}),
    policy("headers", SIGNATURE, {"headers": ["x-event"]}),
    policy("nothing", SIGNATURE, None),
    policy("report", SIGNATURE, {"body": "refused"}, mode="report"),
    policy("query", IN_QUERY, {"body": "all", "headers": ["referer"]}),
    policy("header", {"token": {"header": "x-hook-token", "secrets": [{"env": "TOKEN"}]}}, {"body": "refused"}),
    policy("large", SIGNATURE, {"body": "all", "max_body_bytes": 1 << 20}),
]}
FIELDS = ("body", "body_encoding", "body_sha256", "body_bytes", "headers")
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h1_chunked, client.h2_send], ids=["h1", "h1-chunked", "h2"])


def signed(name: str, body: bytes, *, key: str = KEY, headers: client.Headers | None = None) -> Request:
    return Request(f"/{name}".encode(), [*signer.github(key, body), *(headers or [])], body)


def good() -> Request:
    return signed("nothing", b"{}")


@pytest.fixture(scope="module", params=[True, False], ids=["held", "buffer-behind"])
def gateway(request):
    with Gateway(CONFIG, good=good, env=ENV, hold=request.param) as gateway:
        yield gateway


def told(record: dict) -> dict:
    return {name: record[name] for name in FIELDS if record[name] is not None}


def whole(content: bytes, **more: object) -> dict:
    """What is told of a body that was read to its end."""
    return {"body_sha256": hashlib.sha256(content).hexdigest(), "body_bytes": str(len(content)), **more}


BODIES = {
    "json": b'{"ref": "refs/heads/main"}',
    "empty": b"",
    "unicode": "naïve ☃ \U0001f980".encode(),
    "controls": b"a\0b\r\nc\x1b[31m\td\"e\\f\x7f",
    "line-separators": "a\u2028b\u2029c\u0085d".encode(),
    "invalid": b"\xff\xfe\0binary\x80",
    "half-a-character": b"abc\xe2\x98",
    "surrogate": b"\xed\xa0\x80",
    "like-a-record": b'"}\n{"verdict": "allow"}\n%FILTER_STATE(wasm.webhook_verdict:PLAIN)%',
}


def as_text(body: bytes) -> dict:
    try:
        return {"body": body.decode(), "body_encoding": "text"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "body_encoding": "base64"}


@BOTH
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_whatever_a_body_holds_it_is_one_record(gateway, send, body):
    accepted = gateway.passes(signed("all", body), send)
    refused = gateway.refuses(signed("all", body, key="another-key"), "signature_mismatch", send=send)
    for exchange in (accepted, refused):
        assert told(exchange.record) == whole(body, **as_text(body), headers="{}")
    ids = {accepted.record["test_id"], refused.record["test_id"]}
    assert sum(record["test_id"] in ids for record in gateway.envoy.access_log()) == 2, "a record is more than a line"


@pytest.mark.parametrize("send", FRAMINGS.values(), ids=FRAMINGS)
def test_the_record_does_not_depend_on_the_framing(gateway, send):
    body = b'{"a": "' + b"x" * 500 + b'"}'
    exchange = gateway.passes(signed("all", body), send)
    assert told(exchange.record) == whole(body, **as_text(body), headers="{}")
    exchange = gateway.refuses(signed("all", body, key="another-key"), "signature_mismatch", send=send)
    assert told(exchange.record) == whole(body, **as_text(body), headers="{}")


@BOTH
@pytest.mark.parametrize("unit", ["a", "é", "\udcff"], ids=["ascii", "two-bytes", "binary"])
def test_a_long_body_is_cut_and_its_digest_is_that_of_the_whole(gateway, send, unit):
    body = b"x" + unit.encode(errors="surrogateescape") * 30_000
    exchange = gateway.passes(signed("all", body), send)
    start = body[:MOST]
    wanted = {"body": start.decode(errors="ignore"), "body_encoding": "text+truncated"}
    if unit == "\udcff":
        wanted = {"body": base64.b64encode(start).decode(), "body_encoding": "base64+truncated"}
    assert told(exchange.record) == whole(body, **wanted, headers="{}")


@BOTH
def test_a_large_record_is_whole(gateway, send):
    body = json.dumps({"é": ["\x00\n\\" * 100_000]}, ensure_ascii=False).encode()[:900_000]
    assert told(gateway.passes(signed("large", body), send).record) == whole(body, body=body.decode(), body_encoding="text")


@BOTH
@pytest.mark.parametrize("name, of_accepted, of_refused", [
    ("refused", False, True), ("accepted", True, False), ("headers", None, None), ("nothing", None, None)])
def test_whose_body_is_recorded(gateway, send, name, of_accepted, of_refused):
    body = b'{"name": "%s"}' % name.encode()
    event = [(b"x-event", b"push")]
    headers = {"headers": '{"x-event":"push"}'} if name == "headers" else {"headers": None}
    for exchange, is_told in [
            (gateway.passes(signed(name, body, headers=event), send), of_accepted),
            (gateway.refuses(signed(name, body, key="another-key", headers=event), "signature_mismatch", send=send), of_refused)]:
        digest = {} if is_told is None else whole(body)
        wanted = digest | (as_text(body) if is_told else {}) | {key: value for key, value in headers.items() if value}
        assert told(exchange.record) == wanted


def test_what_is_only_reported_counts_as_refused(gateway):
    body = b'{"a": 1}'
    exchange = gateway.passes(signed("report", body, key="another-key"), verdict="report", reason="signature_mismatch")
    assert told(exchange.record) == whole(body, **as_text(body))
    assert told(gateway.passes(signed("report", body)).record) == whole(body)


@BOTH
def test_a_request_that_is_refused_by_its_headers_has_no_body_to_record(gateway, send):
    exchange = gateway.refuses(Request(b"/header", [(b"x-hook-token", b"wrong")], b"{}"), "token_mismatch", send=send)
    assert told(exchange.record) == {}
    body = b"x" * 70_000
    if send is client.h1_length:
        exchange = gateway.refuses(signed("all", body), "body_too_large", send=send)
        assert told(exchange.record) == {"headers": "{}"}


def test_a_request_that_is_refused_in_the_middle_is_recorded_as_far_as_it_was_read(gateway):
    body = b"y" * 70_000
    for send in (client.h1_chunked, partial(client.h2_send, frame=16384)):
        exchange = gateway.refuses(signed("all", body), "body_too_large", send=send)
        assert told(exchange.record) == {"body": "y" * MOST, "body_encoding": "text+truncated", "headers": "{}"}


@BOTH
def test_headers_are_recorded_and_no_token_among_them(gateway, send):
    headers = [(b"x-event", b"one"), (b"x-event", b"t\xc3\xa9 \"two\""), (b"authorization", b"Bearer " + TOKEN.encode()),
               (b"cookie", b"s=" + TOKEN.encode()), (b"x-hook-token", TOKEN.encode()), (b"x-odd", b"a\xff"), (b"x-other", b"no")]
    exchange = gateway.passes(signed("all", b"{}", headers=headers), send)
    assert json.loads(exchange.record["headers"]) == {"x-event": ["one", 'té "two"'], "x-odd": "a\ufffd"}
    assert TOKEN not in gateway.envoy.read("access.log")


@BOTH
def test_a_token_in_an_url_within_body_or_headers_is_redacted(gateway, send):
    url = f"https://hooks.example.com/query?a=1&token={TOKEN}"
    for text in (json.dumps({"hook": {"url": url}}), json.dumps({"hook": {"url": url}}).replace("&", r"\u0026"), f"url={url}&b=2",
                 "url=" + url.replace("&", "%26").replace("=", "%3D")):
        request = Request(f"/query?token={TOKEN}".encode(), [(b"referer", url.encode())], text.encode())
        exchange = gateway.passes(request, send, target=b"/query")
        assert exchange.record["body"] == text.replace(TOKEN, "REDACTED")
        assert exchange.record["body_sha256"] == hashlib.sha256(text.encode()).hexdigest()
        assert exchange.record["headers"] == '{"referer":"%s"}' % url.replace(TOKEN, "REDACTED")
    assert TOKEN not in gateway.envoy.read("access.log")


def test_a_body_that_no_check_judges_is_held_and_recorded(gateway):
    """Of declared length, it would stream; what has gone on could not be recorded."""
    body = b"z" * 40_000
    for send in (client.h1_length, client.h1_chunked, client.h2_send):
        exchange = gateway.passes(Request(f"/query?token={TOKEN}".encode(), [], body), send, target=b"/query")
        assert told(exchange.record) == whole(body, body=body.decode(), body_encoding="text", headers="{}")


def test_a_receiver_of_opentelemetry_records_gets_every_body():
    """Text that is no UTF-8 would cost it the whole batch, the records of other requests included."""
    with Collector() as collector:
        with Gateway(partial(with_collector, collector.port), good=good, env=ENV) as gateway:
            for body in BODIES.values():
                gateway.passes(signed("all", body, headers=[(b"x-odd", b"\xff"), (b"x-event", b"push")]))
            records = [attributes for _, _, attributes in collector.wait_for(len(BODIES) + 1)]
    got = [record for record in records if record["webhook.policy"] == "all"]
    wanted = [whole(body, **as_text(body), headers='{"x-event":"push","x-odd":"\ufffd"}') for body in BODIES.values()]
    assert [{name: record[f"webhook.{name}"] for name in FIELDS} for record in got] == wanted
    (without,) = [record for record in records if record["webhook.policy"] == "nothing"]
    assert {without[f"webhook.{name}"] for name in FIELDS} == {"-"}


def with_collector(collector: int, upstream_port: int) -> Bootstrap:
    config = bootstrap(CONFIG, upstream_port=upstream_port, env=ENV)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"].append(yaml.safe_load((shipped.DIRECTORY / "access-log/otlp.yaml").read_text()))
    cluster = {"name": "collector", "type": "STATIC", "load_assignment": {"cluster_name": "collector", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": collector}}}}]}]}}
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    config["static_resources"]["clusters"].append(cluster | {"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", **http2}}})
    return config


# What is told stays in Envoy until the request is over, and an application may be slow to answer.


def test_records_keep_no_more_than_held_bytes_and_no_request_is_refused_for_them():
    body, goes_on = b"v" * 30_000, threading.Event()
    with Gateway(CONFIG | {"held_bytes": 131_072}, good=good, env=ENV) as gateway:
        gateway.upstream.answer = lambda connection, _: goes_on.wait(20) and connection.sendall(upstream.REPLY)
        requests = [signed("large", body) for _ in range(8)]
        mark = gateway.upstream.mark()
        with Streams(gateway.envoy.port) as streams:
            opened = [streams.open(request) for request in requests]
            for stream in opened:
                streams.data(stream, body, end=True)
            streams.settle()
            goes_on.set()
            assert [streams.answer(stream).status for stream in opened] == [200] * 8
        assert gateway.upstream.delta(mark).requests == 8
        records = [gateway.envoy.record(request.test_id) for request in requests]
        assert [record["body_sha256"] for record in records] == [hashlib.sha256(body).hexdigest()] * 8
        # Each takes 30,512 of them.
        assert sum(record["body"] == body.decode() for record in records) == 4
        assert sum(record["body"] is None and record["body_encoding"] is None for record in records) == 4
        assert gateway.passes(signed("large", body)).record["body"] == body.decode(), "the room was not given back"
