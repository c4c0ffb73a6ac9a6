"""Where the body never comes: a host without the option is told apart from a sender that is merely slow.

Without allow_on_headers_stop_iteration the guard's pause stops everything, and the body is never shown to it. That
must end in a refusal that names the cause, soon, and never in bytes at the upstream.
"""

import time
from functools import partial

import pytest

from harness import client, signer
from harness.client import Request
from harness.envoy import Envoy, bootstrap
from harness.gateway import NOTHING, Gateway
from harness.upstream import Upstream

SECRET = "a-secret-that-is-32-characters-x"
CONFIG = {"policies": [{
    "name": "github",
    "match": {"path": "/v1"},
    "require": {"signature": {"provider": "github", "secrets": [{"env": "SECRET"}]}},
}]}
ENV = {"SECRET": SECRET}
WITHOUT = pytest.mark.only("wasm", "a dynamic module holds the head without an option")
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h1_chunked, client.h2_send], ids=["h1-length", "h1-chunked", "h2"])


def signed(body: bytes) -> Request:
    return Request(b"/v1", signer.github(SECRET, body), body)


@pytest.fixture(scope="module")
def without_option():
    """Its good request is one without a body: that one needs no option, and so still passes."""
    with Gateway(CONFIG, good=partial(signed, b""), env=ENV, option=False) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def with_option():
    with Gateway(CONFIG, good=partial(signed, b"{}"), env=ENV) as gateway:
        yield gateway


@WITHOUT
@BOTH
def test_without_the_option_a_body_is_refused_soon(without_option, send):
    start = time.monotonic()
    without_option.refuses(signed(b'{"a": 1}'), "host_cannot_hold", send=send)
    assert time.monotonic() - start < 8


@WITHOUT
def test_without_the_option_the_log_says_what_to_set(without_option):
    without_option.refuses(signed(b'{"a": 1}'), "host_cannot_hold")
    assert "[error][wasm]" in without_option.envoy.wait_for_log("allow_on_headers_stop_iteration")


@WITHOUT
def test_without_the_option_a_forged_request_without_a_body_is_judged(without_option):
    without_option.refuses(Request(b"/v1", []), "signature_missing", send=client.h1_bare)


@WITHOUT
def test_the_body_of_a_request_that_is_not_held_proves_nothing():
    """It comes on any host. Taken for a proof that held bodies come too, every webhook after it would hang."""
    other = partial(Request, b"/other", [], b"{}")
    with Gateway(CONFIG | {"unmatched": "pass"}, good=other, env=ENV, option=False) as gateway:
        gateway.refuses(signed(b'{"a": 1}'), "host_cannot_hold")


def test_a_slow_sender_is_waited_for(with_option):
    """Six seconds: longer than the guard waits before it takes the host for one that cannot hold."""
    with_option.passes(signed(b'{"a": 1}'), partial(client.h1_slow, delay=6))


def test_a_slow_forger_is_waited_for_and_refused(with_option):
    request = signed(b'{"a": 1}').again(body=b'{"a": 2}')
    with_option.refuses(request, "signature_mismatch", send=partial(client.h1_slow, delay=6))


def test_a_sender_that_never_sends_its_body_leaves_no_byte():
    """Here Envoy's own request_timeout ends it; the guard has nothing to add."""
    with Upstream() as upstream, Envoy(bootstrap(CONFIG, upstream_port=upstream.port, env=ENV, hcm={"request_timeout": "2s"})) as envoy:
        response = client.h1(envoy.port, signed(b""), [(b"content-length", b"2")], [])
        assert response.status == 408
        assert upstream.mark() == NOTHING
