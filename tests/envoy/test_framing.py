"""The verdict does not depend on how the body was framed, on the HTTP version, nor on how the head is held (promise 6).

The matrix: every framing × every state of the signature × both ways to hold the head. Among the framings are the ones
that end in trailers, by which a filter that decides at the end of the body is walked around.
"""

from functools import partial

import pytest

from harness import client, signer
from harness.client import EMPTY_FRAMINGS, FRAMINGS, Request
from harness.gateway import Gateway

SECRET = "a-github-secret-of-32-characters"
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
TARGET = b"/v1/github?from=test"
BODY = b'{"ref": "refs/heads/main", "bytes": "\x00\xff\r\n\r\n"}'
LARGE = b"0123456789abcdef" * 20_000  # 320 kB: several reads of the guard, some twenty frames of HTTP/2
CONFIG = {"policies": [{
    "name": "github",
    "match": {"path": {"prefix": "/v1/github"}},
    "require": {"signature": {"provider": "github", "secrets": [{"env": "GITHUB_SECRET", "id": "current"}]}},
}]}


def good(body: bytes = BODY) -> Request:
    return Request(TARGET, signer.github(SECRET, body, delivery=DELIVERY), body)


def flipped_body(body: bytes) -> Request:
    return good(body).again(body=body[:-1] + bytes([body[-1] ^ 1]))


def flipped_signature(body: bytes) -> Request:
    return Request(TARGET, signer.github(SECRET, body, flip=True), body)


def missing(body: bytes) -> Request:
    return Request(TARGET, [(b"x-github-event", b"push")], body)


def twice(body: bytes) -> Request:
    headers = signer.github(SECRET, body)
    return Request(TARGET, [*headers, headers[0]], body)


FORGERIES = {
    "flipped-signature": (flipped_signature, "signature_mismatch"),
    "flipped-body": (flipped_body, "signature_mismatch"),
    "missing": (missing, "signature_missing"),
    "twice": (twice, "signature_ambiguous"),
}
EMPTY_FORGERIES = {name: row for name, row in FORGERIES.items() if name != "flipped-body"}
LARGE_FRAMINGS = {
    "h1-length": client.h1_length,
    "h1-chunked": partial(client.h1_chunked, sizes=(1, 65536, 100_000)),
    "h2": client.h2_send,
    "h2-trailers": partial(client.h2_send, trailers=client.TRAILERS),
}


def rows(table: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make, reason", table.values(), ids=table.keys())


def framings(table: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("send", table.values(), ids=table.keys())


@pytest.fixture(scope="module", params=[True, False], ids=["hold", "buffer-behind"])
def gateway(request):
    with Gateway(CONFIG, good=good, hold=request.param, env={"GITHUB_SECRET": SECRET}) as gateway:
        gateway.holds = request.param
        yield gateway


@framings(FRAMINGS)
def test_a_good_request_arrives_byte_identical(gateway, send):
    exchange = gateway.passes(good(), send)
    check_what_is_seen(gateway, exchange)


@framings(EMPTY_FRAMINGS)
def test_a_good_request_without_a_body_arrives(gateway, send):
    exchange = gateway.passes(good(b""), send)
    check_what_is_seen(gateway, exchange)


@framings(LARGE_FRAMINGS)
def test_a_good_large_body_arrives_byte_identical(gateway, send):
    gateway.passes(good(LARGE), send)


@rows(FORGERIES)
@framings(FRAMINGS)
def test_a_forged_request_leaves_no_byte(gateway, send, make, reason):
    exchange = gateway.refuses(make(BODY), reason, send=send)
    assert (exchange.record["policy"], exchange.record["provider"]) == ("github", "github")
    assert "signature:fail" in exchange.record["checks"]


@rows(EMPTY_FORGERIES)
@framings(EMPTY_FRAMINGS)
def test_a_forged_request_without_a_body_leaves_no_byte(gateway, send, make, reason):
    gateway.refuses(make(b""), reason, send=send)


@framings(LARGE_FRAMINGS)
def test_one_bit_in_the_last_byte_of_a_large_body_is_seen(gateway, send):
    gateway.refuses(flipped_body(LARGE), "signature_mismatch", send=send)


@framings(FRAMINGS | {"h1-bare": client.h1_bare})
def test_a_body_dropped_or_added_on_the_way_is_seen(gateway, send):
    gateway.refuses(good(BODY).again(body=b""), "signature_mismatch", send=send)


def check_what_is_seen(gateway: Gateway, exchange) -> None:
    """The operator reads the same either way; the app gets the identity only where the head was still there to add it."""
    seen = {key: exchange.record[key] for key in ("policy", "provider", "delivery_id", "secret_id")}
    assert seen == {"policy": "github", "provider": "github", "delivery_id": DELIVERY, "secret_id": "current"}
    assert "signature:pass" in exchange.record["checks"]
    assert exchange.identity == ({} if not gateway.holds else {
        "verdict": b"verified", "policy": b"github", "provider": b"github",
        "delivery-id": DELIVERY.encode(), "secret-id": b"current"})
