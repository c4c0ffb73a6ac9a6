"""Addresses: long lists, and whose word the source address is. No header speaks for it under the shipped configuration."""

import ipaddress
import time
from functools import partial

import pytest

from harness import client, shipped
from harness.client import Request
from harness.envoy import bootstrap
from harness.gateway import Gateway

HERE = ["127.0.0.0/8"]
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])


def to(path: str, forwarded: str | None = None, **more: object) -> Request:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    return Request(path.encode(), headers, b"{}", **more)


def policy(name: str, path: str, source: dict) -> dict:
    return {"name": name, "match": {"path": path}, "require": {"source_ip": source}}


# Long lists

COUNT = 100_000


def long_list() -> list[str]:
    """Half of them IPv4 /32 at every other address of 20.0.0.0, half IPv6 /48: no two can be merged."""
    v4, v6 = int(ipaddress.IPv4Address("20.0.0.0")), int(ipaddress.IPv6Address("2001:db8::"))
    return [f"{ipaddress.IPv4Address(v4 + 2 * n)}/32" for n in range(COUNT // 2)] + [
        f"{ipaddress.IPv6Address(v6 + (2 * n << 80))}/48" for n in range(COUNT // 2)]


@pytest.fixture(scope="module")
def long():
    """Behind one trusted proxy, whose X-Forwarded-For stands for addresses that a test does not have."""
    prefixes = long_list()
    assert len(set(prefixes)) == COUNT
    policies = [policy("allowed", "/allowed", {"allow": prefixes}), policy("denied", "/denied", {"allow": ["0.0.0.0/0", "::/0"], "deny": prefixes})]
    small = {"policies": [policy("here", "/here", {"allow": HERE})]}
    start = time.monotonic()
    with Gateway(small, good=lambda: to("/here")) as gateway:
        bare = (time.monotonic() - start, gateway.envoy.resident_kib)
    start = time.monotonic()
    with Gateway({"policies": [*small["policies"], *policies]}, good=lambda: to("/here"), hcm={"xff_num_trusted_hops": 1}) as gateway:
        gateway.start_seconds, gateway.added_kib = time.monotonic() - start, gateway.envoy.resident_kib - bare[1]
        print(f"\ntwo lists of {COUNT} prefixes: start {gateway.start_seconds:.2f} s against {bare[0]:.2f} s without, "
              f"{gateway.added_kib / 1024:.0f} MiB more of resident memory in 3 VMs")
        yield gateway


def test_a_long_list_loads(long):
    assert long.start_seconds < 10
    assert long.added_kib < 400 * 1024


LISTED = ["20.0.0.0", "20.0.0.2", "20.1.134.158", "2001:db8::1", "2001:db8:2:ffff::", "2001:db9:869e::9", "::ffff:20.0.0.2"]
UNLISTED = ["19.255.255.255", "20.0.0.1", "20.1.134.159", "20.1.134.160", "2001:db7:ffff::1", "2001:db8:1::", "2001:db9:869f::", "::20.0.0.2"]


@BOTH
@pytest.mark.parametrize("address", LISTED)
def test_a_listed_address(long, send, address):
    long.passes(to("/allowed", address), send)
    long.refuses(to("/denied", address), "source_ip_not_allowed", send=send)


@BOTH
@pytest.mark.parametrize("address", UNLISTED)
def test_an_unlisted_address(long, send, address):
    long.refuses(to("/allowed", address), "source_ip_not_allowed", send=send)
    long.passes(to("/denied", address), send)


# Whose word it is: the table of docs/operating.md

ADDRESSES = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "127.0.0.1"]
BY_ADDRESS = {"policies": [policy(f"is-{address.replace('.', '-')}", f"/is/{address}", {"allow": [address]}) for address in ADDRESSES] + [
    policy("any", "/any", {"allow": ["0.0.0.0/0", "::/0"]})]}
PEER = "127.0.0.1"
ROWS = {  # use_remote_address, xff_num_trusted_hops: the header, and the address that is judged
    (True, 0): {None: PEER, "1.1.1.1": PEER, "1.1.1.1, 2.2.2.2": PEER, "127.0.0.1": PEER},
    (True, 1): {None: PEER, "1.1.1.1": "1.1.1.1", "1.1.1.1, 2.2.2.2": "2.2.2.2", "1.1.1.1, 2.2.2.2, 3.3.3.3": "3.3.3.3",
                "1.1.1.1, nonsense": PEER, "1.1.1.1:80": PEER},
    (True, 2): {None: PEER, "1.1.1.1": PEER, "1.1.1.1, 2.2.2.2": "1.1.1.1", "1.1.1.1, 2.2.2.2, 3.3.3.3": "2.2.2.2"},
    # Envoy's default believes the sender, who here claims to be anyone.
    (False, 0): {None: PEER, "1.1.1.1": "1.1.1.1", "1.1.1.1, 2.2.2.2": "2.2.2.2", "nonsense": PEER, "1.1.1.1:80": PEER},
    (False, 1): {None: PEER, "1.1.1.1": PEER, "1.1.1.1, 2.2.2.2": "1.1.1.1", "1.1.1.1, 2.2.2.2, 3.3.3.3": "2.2.2.2"},
}


@pytest.mark.parametrize("use_remote_address, hops", ROWS)
def test_the_address_that_is_judged(use_remote_address, hops):
    hcm = {"use_remote_address": use_remote_address, "xff_num_trusted_hops": hops}
    with Gateway(BY_ADDRESS, good=lambda: to("/any"), hcm=hcm) as gateway:
        for forwarded, judged in ROWS[use_remote_address, hops].items():
            statuses = {address: client.h1_length(gateway.envoy.port, to(f"/is/{address}", forwarded)).status for address in ADDRESSES}
            assert statuses == {address: 200 if address == judged else 403 for address in ADDRESSES}, forwarded


# The shipped configuration

TOKEN = "build-token-of-some-length"
SHIPPED_ENV = {name: f"{name}-of-some-length" for name in (
    "GITHUB_WEBHOOK_SECRET", "SLACK_SIGNING_SECRET", "STRIPE_WEBHOOK_SECRET", "BITBUCKET_WEBHOOK_SECRET", "GITLAB_WEBHOOK_TOKEN")}
BUILD = f"/flexdeploy/webhooks/v1/build?token={TOKEN}"


@pytest.fixture(scope="module")
def standalone():
    with Gateway(partial(shipped.load, "standalone/envoy.yaml"), good=lambda: to(BUILD), env=SHIPPED_ENV | {"BUILD_SERVER_TOKEN": TOKEN}) as gateway:
        yield gateway


def sent_from(source: str, port: int, request: Request) -> client.Response:
    return client.h1_length(port, request, source=source)


SPOOFS = ["10.1.2.3", "127.0.0.1", "10.1.2.3, 127.0.0.1", "127.0.0.1:80", "::ffff:10.1.2.3"]


@pytest.mark.parametrize("forwarded", [None, *SPOOFS])
def test_a_spoofed_header_opens_nothing_under_the_shipped_configuration(standalone, forwarded):
    """127.0.0.2 is not on the list; 127.0.0.1 and 10.0.0.0/8 are."""
    standalone.refuses(to(BUILD, forwarded), "source_ip_not_allowed", send=partial(sent_from, "127.0.0.2"))


@pytest.mark.parametrize("name", [b"x-real-ip", b"true-client-ip", b"x-envoy-external-address", b"x-client-ip", b"cf-connecting-ip"], ids=bytes.decode)
def test_no_other_header_does_either(standalone, name):
    request = to(BUILD).again(headers=[(name, b"10.1.2.3")])
    standalone.refuses(request, "source_ip_not_allowed", send=partial(sent_from, "127.0.0.2"))


# The PROXY protocol

PROXIED = {"policies": [
    policy("v6", "/v6", {"allow": ["2001:db8::/32"]}),
    policy("v4", "/v4", {"allow": ["192.0.2.0/24"]}),
    policy("any", "/any", {"allow": ["::/0", "0.0.0.0/0"]}),
]}


def with_proxy_protocol(upstream_port: int) -> dict:
    config = bootstrap(PROXIED, upstream_port=upstream_port)
    kind = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
    # Without it as well: the good request that warms the pool comes straight.
    typed = {"@type": kind, "allow_requests_without_proxy_protocol": True}
    config["static_resources"]["listeners"][0]["listener_filters"] = [{"name": "proxy_protocol", "typed_config": typed}]
    return config


@pytest.fixture(scope="module")
def proxied():
    with Gateway(with_proxy_protocol, good=lambda: to("/any")) as gateway:
        yield gateway


BALANCED = [("/v6", "2001:db8::7"), ("/v6", "2001:db8:ffff::"), ("/v4", "192.0.2.7"), ("/v4", "::ffff:192.0.2.7"), ("/v4", "::ffff:c000:207")]
REFUSED = [("/v6", "2001:db9::7"), ("/v6", "192.0.2.7"), ("/v6", "::ffff:192.0.2.7"), ("/v4", "192.0.3.7"), ("/v4", "::192.0.2.7"), ("/v4", "64:ff9b::c000:207")]


@pytest.mark.parametrize("path, source", BALANCED)
def test_the_balancer_says_a_listed_address(proxied, path, source):
    proxied.passes(to(path), partial(client.h1_proxied, source=source))
    proxied.passes(to(path, "203.0.113.9"), partial(client.h1_proxied, source=source))


@pytest.mark.parametrize("path, source", REFUSED)
def test_the_balancer_says_another_address(proxied, path, source):
    proxied.refuses(to(path), "source_ip_not_allowed", send=partial(client.h1_proxied, source=source))
