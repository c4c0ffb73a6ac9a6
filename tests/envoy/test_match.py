"""Which policy governs a request, and what is refused before any secret is looked at: path, method, host, shape, size, address."""

from functools import partial

import pytest

from harness import client, signer
from harness.client import Request
from harness.gateway import Gateway

TOKEN = "a-token-of-some-length"
SECRET = "a-secret-that-is-32-characters-x"
HERE = {"source_ip": {"allow": ["127.0.0.0/8"]}}
AWAY = {"source_ip": {"allow": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]}}
WITH_TOKEN = {"token": {"header": "x-hook-token", "secrets": [{"env": "TOKEN"}]}}
SIGNED = {"signature": {"provider": "github", "secrets": [{"env": "SECRET"}]}}
ENV = {"TOKEN": TOKEN, "SECRET": SECRET}
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])


def policy(name: str, require: dict, path: object = None, *, match: dict | None = None, **more: object) -> dict:
    return {"name": name, "match": {"path": path or f"/{name}"} | (match or {}), "require": require} | more


CONFIG = {"policies": [
    policy("hooks", HERE, {"prefix": "/v1"}),
    policy("deep", AWAY, {"prefix": "/v1/deep"}),
    policy("exact", HERE, {"exact": "/v1/deep/exact"}),
    policy("list", HERE, ["/one", {"prefix": "/two"}]),
    policy("methods", HERE, match={"methods": ["PUT", "POST"]}),
    policy("get", HERE, match={"methods": ["GET"]}),
    policy("hosted", HERE, match={"hosts": ["hooks.example.com", "*.example.org"]}),
    policy("typed", HERE, content_types=["application/json"]),
    policy("packed", HERE, content_encodings=["identity", "gzip"]),
    policy("small", HERE, max_body_bytes=100),
    policy("small-signed", SIGNED, max_body_bytes=100),
    policy("away", AWAY),
    policy("denied", {"source_ip": {"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]}}),
    policy("either", {"any_of": [AWAY, WITH_TOKEN]}),
    policy("report", AWAY, mode="report"),
    policy("anonymous", HERE, forward={"identity": False, "remove_headers": ["flex-sync-webhook"]}),
    policy("status", AWAY, deny_status={"source_ip_not_allowed": 406}),
    policy("open", "nothing"),
]}


def to(path: str | bytes, headers: client.Headers | None = None, body: bytes = b"{}", **more: object) -> Request:
    return Request(path if isinstance(path, bytes) else path.encode(), headers or [], body, **more)


def good() -> Request:
    return to("/v1")


def signed(path: str, body: bytes) -> Request:
    return to(path, signer.github(SECRET, body), body)


@pytest.fixture(scope="module")
def gateway():
    with Gateway(CONFIG, good=good, env=ENV) as gateway:
        yield gateway


# Path

GOVERNED = {
    "/v1": "hooks", "/v1/": "hooks", "/v1/a": "hooks", "/v1?a=/../": "hooks", "/v1/deeper": "hooks", "/v1/a%20b": "hooks",
    "/v1/deep/exact": "exact", "/one": "list", "/two/2": "list", "/open": "open",
}
UNGOVERNED = ["/", "/v", "/v1x", "/v10/a", "/V1", "/v1%20", "/one/", "/one/2", "/v2/v1", "/a?/v1", "/%76%31"]
MALFORMED = [
    "/v1/%2f", "/v1%2Fa", "/v1/%5c", "/v1/%5C..", "/v1/%2e%2e/a", "/v1/%2E", "/v1/a%00", "/v1\\a", "//v1", "/v1//a", "/v1/a//",
    "/v1/./a", "/v1/../a", "/v1/..", "/v1/.", "/../v1", "/v1;a=b", "/v1/a;b/c", "/v1/%", "/v1/%zz", "/v1/%2", "/nowhere/%2f",
]


@BOTH
@pytest.mark.parametrize("path", GOVERNED)
def test_a_path_is_governed_by_the_most_specific_policy(gateway, send, path):
    assert gateway.passes(to(path), send).record["policy"] == GOVERNED[path]


def test_a_longer_prefix_governs_before_a_shorter_one(gateway):
    assert gateway.refuses(to("/v1/deep/a"), "source_ip_not_allowed").record["policy"] == "deep"


@BOTH
@pytest.mark.parametrize("path", UNGOVERNED)
def test_a_path_that_no_policy_governs(gateway, send, path):
    gateway.refuses(to(path), "no_policy", send=send)


@BOTH
@pytest.mark.parametrize("path", MALFORMED)
def test_a_path_that_two_readers_could_read_differently(gateway, send, path):
    gateway.refuses(to(path), "path_malformed", send=send)


@BOTH
@pytest.mark.parametrize("path", [b"/v1/\x01", b"/v1/\x7f", b"/v1/\xc3\xa4", b"/v1/\xff"], ids=["control", "DEL", "UTF-8", "not-UTF-8"])
def test_a_path_of_odd_bytes_leaves_no_byte(gateway, send, path):
    """Envoy refuses most of these by itself, so only the outcome is the same everywhere."""
    gateway.drops(lambda port: send(port, to(path)))


def test_a_question_mark_ends_the_path_but_not_its_rules(gateway):
    gateway.passes(to("/v1?a=%2f&b=;&c=//../%00"))


# What another reader takes for the path of another policy, or for none of this one

DISGUISED = [
    "/v1/deep/exact/", "/v1/deep/EXACT", "/v1/Deep/x", "/v1/%64eep", "/v1/%2564eep/x", "/v1/%252564eep", "/v1/deep%20", "/v1/deep%252f",
    "/v1/deep.", "/v1/deep%20/a", "/v1/deep./a", "/v1/deep%3b", "/v1/deep%3fa", "/v1/deep%23", "/v1/%c0%afdeep", "/v1/%u002fdeep",
    "/v1/x/%c0%ae%c0%ae/deep", "/v1/%252e%252e%252f%252e%252e%252fconsole", "/v1/..%3b/admin", "/v1/..%3bx=y/admin", "/v1/%252e%252e/admin",
    "/v1/..%255cadmin", "/v1/..%20/admin", "/Open", "/v1/../open",
]


@BOTH
@pytest.mark.parametrize("path", DISGUISED)
def test_no_policy_is_reached_or_left_by_another_spelling(gateway, send, path):
    gateway.refuses(to(path), "no_policy" if path == "/Open" else "path_malformed", send=send)


@BOTH
@pytest.mark.parametrize("path", ["/v1/", "/v1/My%20Repo/x", "/v1/%E2%82%AC", "/v1/A", "/v1/group%252Fproject/", "/v1/v1.2/x"])
def test_an_ordinary_path_of_many_letters_passes(gateway, send, path):
    assert gateway.passes(to(path), send).record["policy"] == "hooks"


# Method, host, shape

def test_another_method_is_told_the_right_ones(gateway):
    for method in (b"GET", b"PUT", b"DELETE", b"OPTIONS"):
        exchange = gateway.refuses(to("/v1", method=method), "method_not_allowed")
        assert exchange.response.values("allow") == ["POST"]
    exchange = gateway.refuses(to("/methods", method=b"GET", body=b""), "method_not_allowed", send=client.h2_send)
    assert set(exchange.response.values("allow")[0].split(", ")) == {"PUT", "POST"}
    gateway.passes(to("/methods", method=b"PUT"))


HOSTS = [b"hooks.example.com", b"HOOKS.Example.COM", b"hooks.example.com:8443", b"a.example.org", b"A.EXAMPLE.org:80"]
OTHER_HOSTS = [b"example.org", b"example.com", b"hooks.example.com.evil.net", b"evilexample.org", b"a.example.org.evil.net", b"[::1]", b"10.0.0.1"]


@BOTH
@pytest.mark.parametrize("host", HOSTS, ids=bytes.decode)
def test_a_host_is_governed(gateway, send, host):
    gateway.passes(to("/hosted", host=host), send)


@BOTH
@pytest.mark.parametrize("host", OTHER_HOSTS, ids=bytes.decode)
def test_another_host_is_not_governed(gateway, send, host):
    gateway.refuses(to("/hosted", host=host), "no_policy", send=send)


DOUBTFUL_HOSTS = [b"hooks.example.com:80:81", b"hooks.example.com::80", b"hooks.example.com:", b"hooks.example.com:x", b"hooks..example.com",
                  b"hooks.example.com..", b"hooks.example.com,evil", b"a@hooks.example.com", b"hooks.example.com evil", b"127.1", b"[::1"]


@BOTH
@pytest.mark.parametrize("host", DOUBTFUL_HOSTS, ids=bytes.decode)
def test_a_host_that_two_readers_could_read_differently(gateway, send, host):
    """Envoy refuses some of these by itself; what it lets through reaches no policy, not even one that names no host."""
    for path in ("/hosted", "/v1"):
        gateway.drops(lambda port, path=path: send(port, to(path, host=host)))


@pytest.mark.parametrize("host", [b"hooks.example.com:80:81", b"hooks.example.com::80", b"hooks.example.com,evil"], ids=bytes.decode)
def test_a_doubtful_host_is_refused_as_malformed(gateway, host):
    gateway.refuses(to("/hosted", host=host), "path_malformed")
    gateway.refuses(to("/v1", host=host), "path_malformed")


def test_two_host_headers_are_no_host(gateway):
    """Whatever Envoy makes of the two, they reach no policy."""
    gateway.drops(lambda port: client.h1_length(port, to("/v1", [(b"host", b"evil")])))


EXTENDED_CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"),
                    (b":authority", b"hooks.example.com"), (b":path", b"/get")]
PLAIN_CONNECT = [(b":method", b"CONNECT"), (b":authority", b"hooks.example.com:443")]


def test_an_upgrade_is_refused(gateway):
    upgrade = [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
    gateway.refuses(to("/get", upgrade, method=b"GET", body=b""), "upgrade_not_allowed", send=client.h1_bare)
    gateway.refuses(to("/get", body=b""), "upgrade_not_allowed", send=partial(client.h2_send, pseudo=EXTENDED_CONNECT))


def test_connect_is_refused(gateway):
    target = to(b"hooks.example.com:443", method=b"CONNECT", body=b"")
    gateway.refuses(target, "upgrade_not_allowed", send=client.h1_bare)
    gateway.refuses(target.again(), "upgrade_not_allowed", send=partial(client.h2_send, pseudo=PLAIN_CONNECT))


JSON_TYPES = ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8", 'application/json; charset="utf-8"']
OTHER_TYPES = ["text/plain", "application/jsonx", "application/json; charset=utf-16", "application/json; boundary=x", "", "application/json, text/plain"]


@pytest.mark.parametrize("value", JSON_TYPES)
def test_a_content_type_is_allowed(gateway, value):
    gateway.passes(to("/typed", [(b"content-type", value.encode())]))


@pytest.mark.parametrize("value", OTHER_TYPES)
def test_another_content_type_is_refused(gateway, value):
    gateway.refuses(to("/typed", [(b"content-type", value.encode())]), "content_type_not_allowed")


def test_a_content_type_missing_or_twice_is_refused(gateway):
    gateway.refuses(to("/typed"), "content_type_not_allowed")
    gateway.refuses(to("/typed", [(b"content-type", b"application/json")] * 2), "content_type_not_allowed")


@pytest.mark.parametrize("value", ["gzip", "GZIP", "br", "identity, gzip", "x-gzip"])
def test_an_encoded_body_is_refused(gateway, value):
    gateway.refuses(to("/v1", [(b"content-encoding", value.encode())]), "content_encoding_not_allowed")


def test_an_encoding_that_the_policy_names_is_allowed(gateway):
    gateway.passes(to("/packed", [(b"content-encoding", b"gzip")], b"\x1f\x8b"))
    gateway.passes(to("/v1", [(b"content-encoding", b"identity")]))


# Size

SIZED = pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())
JUDGED = pytest.mark.parametrize("path", ["/small", "/small-signed"], ids=["body-not-judged", "body-judged"])


@JUDGED
@SIZED
def test_a_body_of_exactly_the_limit_passes(gateway, send, path):
    gateway.passes(signed(path, b"x" * 100), send)


@JUDGED
@SIZED
def test_one_byte_over_the_limit_leaves_no_byte(gateway, send, path):
    gateway.refuses(signed(path, b"x" * 101), "body_too_large", send=send)


@JUDGED
def test_a_declared_length_is_refused_before_the_body_comes(gateway, path):
    head_only = partial(client.h1, framing=[(b"content-length", b"101")], parts=[])
    gateway.refuses(signed(path, b""), "body_too_large", send=head_only)


# Addresses

def test_an_address_that_is_not_allowed(gateway):
    gateway.refuses(to("/away"), "source_ip_not_allowed")
    gateway.refuses(to("/denied"), "source_ip_not_allowed")
    gateway.refuses(to("/status"), "source_ip_not_allowed", status=406)


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-real-ip", b"forwarded", b"x-envoy-external-address", b"true-client-ip"], ids=bytes.decode)
def test_no_header_speaks_for_the_address(gateway, name):
    gateway.refuses(to("/away", [(name, b"for=10.1.2.3" if name == b"forwarded" else b"10.1.2.3")]), "source_ip_not_allowed")


def test_either_the_address_or_the_token(gateway):
    gateway.passes(to("/either", [(b"x-hook-token", TOKEN.encode())]), removed=("x-hook-token",))
    gateway.refuses(to("/either", [(b"x-hook-token", b"wrong")]), "no_alternative_held")


@pytest.fixture(scope="module")
def behind_balancer():
    """An Envoy behind one trusted proxy, whose x-forwarded-for it takes the source address from."""
    with Gateway(CONFIG, good=good, env=ENV, hcm={"xff_num_trusted_hops": 1}) as gateway:
        yield gateway


@pytest.mark.parametrize("address", ["10.1.2.3", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::1", "::ffff:10.1.2.3"])
def test_the_address_that_envoy_found_is_allowed(behind_balancer, address):
    behind_balancer.passes(to("/away", [(b"x-forwarded-for", address.encode())]))


@pytest.mark.parametrize("address", ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"])
def test_the_address_that_envoy_found_is_refused(behind_balancer, address):
    behind_balancer.refuses(to("/away", [(b"x-forwarded-for", address.encode())]), "source_ip_not_allowed")


# Identity headers

SPOOFED = [b"x-webhook-guard-verdict", b"X-Webhook-Guard-Policy", b"x_webhook_guard_verdict", b"X-WEBHOOK_guard-Secret_Id", b"x-webhook-guard-anything"]


@pytest.mark.parametrize("send", [client.h1_length, client.h1_bare, client.h2_send, client.FRAMINGS["h2-trailers"]],
                         ids=["h1", "h1-bare", "h2", "h2-trailers"])
def test_a_senders_identity_headers_are_removed(gateway, send):
    spoofed = [(name.lower() if send is not client.h1_length else name, b"spoofed") for name in SPOOFED]
    body = b"" if send is client.h1_bare else b"{}"
    assert gateway.passes(to("/v1", spoofed, body), send).identity == {"verdict": b"verified", "policy": b"hooks"}
    assert gateway.passes(to("/anonymous", spoofed, body), send).identity == {}


def test_headers_that_the_policy_removes(gateway):
    gateway.passes(to("/anonymous", [(b"Flex-Sync-Webhook", b"true"), (b"x-kept", b"1")]), removed=("flex-sync-webhook",))


# Report mode

def test_report_mode_forwards_and_records(gateway):
    exchange = gateway.passes(to("/report"), verdict="report", reason="source_ip_not_allowed")
    assert exchange.identity == {"verdict": b"reported", "policy": b"report"}


# Metrics

def test_a_verdict_is_counted_under_its_policy_and_reason(gateway):
    def counted() -> dict[str, int]:
        return gateway.envoy.stats("webhook_guard_requests_total.*away|away.*webhook_guard_requests_total")

    gateway.refuses(to("/away"), "source_ip_not_allowed")
    before = counted()
    gateway.refuses(to("/away"), "source_ip_not_allowed")
    assert [name for name, value in counted().items() if value == before[name] + 1 and "source_ip_not_allowed" in name]


# A gateway that serves other things too

@pytest.fixture(scope="module")
def shared():
    config = {"unmatched": "pass", "policies": [policy("hooks", SIGNED, {"prefix": "/v1/hooks"})]}
    with Gateway(config, good=partial(signed, "/v1/hooks", b"{}"), env=ENV) as gateway:
        yield gateway


UNRELATED = ["/", "/v1", "/v1/hooksx", "/other?a=%00", "/other/%2f", "/a//b", "/a/../b", "/a;b=c", "/a%5cb", "/%zz", "/v2/hooks"]
OTHER_READINGS = [
    "//v1/hooks", "/v1//hooks", "/v1/./hooks", "/a/../v1/hooks", "/a/%2e%2e/v1/hooks", "/v1%2fhooks", "/v1%2Fhooks/a", "/v1%252fhooks",
    "/v1\\hooks", "/v1%5chooks", "/v1;a=b/hooks", "/v1/hooks;a", "/v1/hooks/..", "/v1/hooks/%2e", "/v1/hooks//a", "/V1//Hooks",
    "/%76%31//hooks", "/v1/hooks%00", "/v1/hooks.", "/v1/hooks%3f", "/v1/hooks%3fa", "/v1/hooks%23", "/v1%20/hooks", "/v1./hooks",
    "/v1%c0%afhooks", "/v1%u002fhooks", "/x/%c0%ae%c0%ae/v1/hooks", "/v1/%252568ooks", "/%252e%252e/v1/hooks",
]


@BOTH
@pytest.mark.parametrize("path", UNRELATED)
def test_an_unrelated_path_is_left_alone(shared, send, path):
    exchange = shared.forwards(to(path, [(b"x-webhook-guard-verdict", b"spoofed")], method=b"PUT"), send)
    assert exchange.identity == {}


@BOTH
@pytest.mark.parametrize("path", OTHER_READINGS)
def test_another_reading_of_a_governed_path_is_refused(shared, send, path):
    shared.refuses(to(path), "path_malformed", send=send)


@pytest.mark.parametrize("path", ["/V1/hooks", "/v1/%68ooks", "/v1/%2568ooks"])
def test_a_wellformed_other_spelling_of_a_governed_path_is_refused(shared, path):
    shared.refuses(to(path), "path_malformed")


def test_a_governed_path_with_another_method_is_refused(shared):
    shared.refuses(to("/v1/hooks", method=b"PUT"), "method_not_allowed")
