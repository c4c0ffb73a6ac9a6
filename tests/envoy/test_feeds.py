"""Address feeds through a real Envoy and a provider with TLS: what is taken, what is not and why, and who is let in."""

import json
import threading
import time
from functools import partial

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import Envoy, bootstrap
from harness.feed_server import HOST, FeedServer, chunked, respond
from harness.feeds import HERE, TAGS, errors, feed, guard, hooks, lines, policy, reason, start, status, to, until
from harness.gateway import Gateway
from harness.load import Load
from harness.upstream import Upstream

@pytest.fixture
def server(tmp_path):
    with FeedServer(tmp_path) as server:
        yield server


def test_a_list_is_fetched_and_followed_and_its_state_is_told(server):
    server.answer = respond(hooks("192.0.2.0/24", "2001:db8::/32"), "200 OK", "content-type: application/json")
    with start(server, guard({"hooks": feed()})) as gateway:
        until(lambda: gateway.envoy.metric("webhook_guard_feed_prefixes", feed="hooks") == 2)
        # The metric is as well that of the host's main thread, where a worker has yet to take the list over.
        until(lambda: reason(gateway, "/hooks") == "source_ip_not_allowed")
        gateway.refuses(to("/hooks"), "source_ip_not_allowed")
        server.answer = chunked(hooks(HERE, "192.0.2.0/24"), size=7)
        until(lambda: status(gateway, "/hooks") == 200)
        gateway.passes(to("/hooks"))
        until(lambda: gateway.envoy.metric("webhook_guard_feed_age_seconds", feed="hooks") < 3)
        assert errors(gateway, "hooks") == 0
        server.answer = respond(b"", "500 Internal Server Error")
        until(lambda: gateway.envoy.metric("webhook_guard_feed_age_seconds", feed="hooks") >= 2)
    head = server.requests[0].lower()
    assert head.startswith("get /meta http/1.1\r\n")
    for wanted in (f"\r\nhost: {HOST}\r\n", "\r\nuser-agent: webhook-guard\r\n", "\r\naccept-encoding: identity\r\n"):
        assert wanted in head


def test_lines_and_a_feed_that_denies(server):
    server.answers = {"/allowed": respond(b"# ours\n127.0.0.0/8\n"), "/denied": respond(b"127.0.0.2\n")}
    text = {"cluster": "feeds", "authority": HOST, "lines": True}
    feeds = {"allowed": {**text, "path": "/allowed"}, "denied": {**text, "path": "/denied"}}
    both = policy("both", {"allow": [{"feed": "allowed"}], "deny": [{"feed": "denied"}]})
    with start(server, guard(feeds, both)) as gateway:
        until(lambda: status(gateway, "/both") == 200)
        gateway.refuses(to("/both"), "source_ip_not_allowed", send=partial(client.h1_length, source="127.0.0.2"))
        gateway.passes(to("/both"), partial(client.h1_length, source="127.0.0.3"))


LONG = json.dumps({"hooks": [HERE] + [f"20.{n >> 14 & 255}.{n >> 6 & 255}.{(n & 63) << 2}/31" for n in range(300_000)]}).encode()
MOST = [HERE, *(f"192.0.2.{n}" for n in range(9))]
FAULTS = {
    "404": (respond(b"", "404 Not Found"), "the answer has the status 404"),
    "500": (respond(hooks(HERE), "500 Internal Server Error"), "the answer has the status 500"),
    "redirect": (respond(b"", "302 Found", f"location: https://{HOST}/other"), "the answer is a redirect (302), which is not followed"),
    "gzip": (respond(hooks(HERE), "200 OK", "content-encoding: gzip"), "the answer has a content-encoding"),
    "a page": (respond(b"<!doctype html>"), "the answer is not JSON: after 0 bytes"),
    "cut short of its length": (respond(hooks(*MOST)[:40], length=400), "no whole answer came in time"),
    "cut between chunks": (chunked(hooks(*MOST), is_whole=False), "no whole answer came in time"),
    "half a document": (respond(hooks(*MOST)[:60]), "the answer is not JSON: after 60 bytes"),
    "half a list": (respond(hooks(*MOST[:4])), "of 10 prefixes only 4 are left"),
    "an empty list": (respond(hooks()), "there is no address in it"),
    "everyone": (respond(hooks(*MOST, "0.0.0.0/0")), '"0.0.0.0/0" covers more than any provider sends from'),
    "no address": (respond(hooks(*MOST, "example.com")), '"example.com" is neither an IP address nor a CIDR block'),
    "host bits": (respond(hooks(*MOST, "192.0.2.1/24")), '"192.0.2.1/24" has bits set behind its prefix'),
    "300,000 entries": (respond(LONG), "there are more than 200000 prefixes"),
    "9 MiB": (respond(hooks(*MOST) + b" " * (9 << 20)), "the answer has more than 8 MiB"),
    "no UTF-8": (respond(b'{"x": "\xff", ' + hooks(*MOST)[1:]), "the answer is not UTF-8"),
    "nothing": (lambda connection: None, "no whole answer came in time"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    with FeedServer(tmp_path_factory.mktemp("faulty")) as server:
        server.answer = respond(hooks(*MOST))
        with start(server, guard({"hooks": feed()})) as gateway:
            until(lambda: status(gateway, "/hooks") == 200)
            yield server, gateway


@pytest.mark.parametrize("answer, said", FAULTS.values(), ids=FAULTS.keys())
def test_after_a_fault_the_last_list_stays_and_the_log_and_a_metric_say_so(faulty, answer, said):
    server, gateway = faulty
    server.answer = respond(hooks(*MOST))
    before = len(server.requests)
    until(lambda: len(server.requests) > before + 1)
    failed, told = errors(gateway, "hooks"), len(lines(gateway, said))
    server.answer = answer
    until(lambda: errors(gateway, "hooks") > failed, what=f"no error is counted; the log ends:\n{gateway.envoy.tail()}")
    until(lambda: len(lines(gateway, said)) > told, what=f"{said!r} is not said; the log ends:\n{gateway.envoy.tail()}")
    assert "feed hooks: " in lines(gateway, said)[-1] and "the last list of 10 prefixes stays" in lines(gateway, said)[-1]
    gateway.passes(to("/hooks"))
    gateway.refuses(to("/elsewhere"), "no_policy")
    # One line a fault.
    server.answer = respond(hooks(*MOST))
    until(lambda: errors(gateway, "hooks") == len(lines(gateway, "feed hooks: ")))


@pytest.mark.parametrize("host, is_expired", [("other.example.com", False), (HOST, True)], ids=["another name", "expired"])
def test_a_certificate_that_does_not_verify(tmp_path, host, is_expired):
    with FeedServer(tmp_path, host=host, is_expired=is_expired) as server:
        server.answer = respond(hooks(HERE))
        with start(server, guard({"hooks": feed()})) as gateway:
            until(lambda: errors(gateway, "hooks") > 0)
            assert lines(gateway, "no whole answer came in time")
            gateway.refuses(to("/hooks"), "source_ip_unknown")
        assert server.requests == []


def test_a_server_that_hangs_keeps_nothing_waiting(server):
    release = threading.Event()
    server.answer = lambda connection: release.wait()
    with start(server, guard({"hooks": feed(initial=[HERE])})) as gateway:
        until(lambda: server.requests)
        gateway.passes(to("/hooks"))
        until(lambda: errors(gateway, "hooks") > 0, seconds=40)
        assert "the last list of 1 prefixes stays" in lines(gateway, "no whole answer came in time")[0]
        server.answer = respond(hooks("192.0.2.0/24"))
        release.set()
        until(lambda: status(gateway, "/hooks") == 403)
        gateway.refuses(to("/hooks"), "source_ip_not_allowed")


def test_a_cluster_that_is_not_there(server):
    with start(None, guard({"hooks": feed(), "begun": feed(initial=[HERE])})) as gateway:
        for name in ("hooks", "begun"):
            until(lambda: errors(gateway, name) > 1)  # noqa: B023
            assert lines(gateway, f"feed {name}: the host has no such cluster: ")
        gateway.refuses(to("/hooks"), "source_ip_unknown")
        gateway.passes(to("/begun"))


def test_a_list_that_is_too_old_admits_nobody_and_one_that_denies_refuses_everyone(server):
    server.answer = respond(hooks("127.0.0.3"))
    open_but = policy("open-but", {"deny": [{"feed": "hooks"}]})
    with start(server, guard({"hooks": feed(max_age_seconds=3)}, open_but)) as gateway:
        from_3 = partial(client.h1_length, source="127.0.0.3")
        until(lambda: from_3(gateway.envoy.port, to("/hooks")).status == 200)
        assert (status(gateway, "/open-but"), from_3(gateway.envoy.port, to("/open-but")).status) == (200, 403)
        server.answer = respond(b"", "404 Not Found")
        until(lambda: from_3(gateway.envoy.port, to("/hooks")).status == 403)
        gateway.refuses(to("/hooks"), "source_ip_unknown", send=from_3)
        gateway.refuses(to("/open-but"), "source_ip_unknown")
        until(lambda: lines(gateway, "feed hooks: its last list is too old and admits nobody any more"))
        until(lambda: gateway.envoy.metric("webhook_guard_feed_prefixes", feed="hooks") == 0)
        # What was less than half of a list that has ended is not held against a new one.
        server.answer = respond(hooks("127.0.0.4"))
        until(lambda: client.h1_length(gateway.envoy.port, to("/hooks"), source="127.0.0.4").status == 200)


def test_one_worker_fetches_and_every_one_follows_without_a_dropped_request_under_load(server):
    server.answer = respond(hooks(HERE))
    with start(server, guard({"hooks": feed(), "flips": feed(path="/flips", initial=["192.0.2.1"])}), concurrency=4) as gateway:
        server.answers["/flips"] = respond(hooks("192.0.2.1"))
        # Each connection goes to one of the workers: forty in a row that agree have met them all.
        def all_say(path: str, wanted: int) -> None:
            agreed = [0]

            def agrees() -> bool:
                agreed[0] = agreed[0] + 1 if status(gateway, path) == wanted else 0
                return agreed[0] >= 40

            until(agrees, seconds=40)

        all_say("/hooks", 200)
        with Load(gateway.envoy.port, lambda: to("/hooks")) as one, Load(gateway.envoy.port, lambda: to("/hooks")) as other:
            for networks, wanted in [(HERE, 200), ("192.0.2.1", 403)] * 2:
                server.answers["/flips"] = respond(hooks(networks))
                all_say("/flips", wanted)
        assert one.statuses.keys() == other.statuses.keys() == {200}
        assert min(one.statuses[200], other.statuses[200]) > 100
        # Five VMs or four workers, and one request a second of each feed: a second is more than two of them need.
        before, began = len(server.requests), time.monotonic()
        until(lambda: time.monotonic() - began > 5)
        assert len(server.requests) - before <= 2 * 7


def test_a_list_is_kept_when_the_configuration_is_loaded_anew(server):
    server.answer = respond(hooks(HERE))
    config = guard({"hooks": feed(refresh_seconds=3600)})

    def listener(whole: dict) -> str:
        kind = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}
        return json.dumps({"version_info": str(time.monotonic_ns()), "resources": [kind | whole["static_resources"]["listeners"][0]]})

    def versions(config: dict, port: int) -> dict:
        whole = bootstrap(config, upstream_port=port, stats_tags=TAGS)
        whole["static_resources"]["clusters"].append(server.cluster("feeds"))
        return whole

    def envoy(port: int) -> dict:
        whole = versions(config, port)
        whole["node"] = {"id": "test", "cluster": "test"}
        whole["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": "./lds.json"}}}
        del whole["static_resources"]["listeners"]
        return whole

    first = listener(versions(config, 1))
    gateway = Gateway(envoy, good=lambda: to("/good"), files={"lds.json": first.replace('"port_value": 1}', '"port_value": 0}')})
    with gateway:
        until(lambda: status(gateway, "/hooks") == 200)
        server.answer = respond(b"", "500 Internal Server Error")
        asked = len(server.requests)
        changed = config | {"policies": [*config["policies"], policy("more", {"allow": [{"feed": "hooks"}]})]}
        with Load(gateway.envoy.port, lambda: to("/hooks")) as load:
            gateway.envoy.write("lds.json", listener(versions(changed, 1)))
            until(lambda: status(gateway, "/more") == 200)
        assert load.statuses.keys() == {200}
        assert len(server.requests) == asked, "a list that is an hour young is not fetched again"


def test_the_shipped_file_follows_two_providers(tmp_path):
    secret = "a-secret-of-the-test-of-the-feeds"
    env = {"GITHUB_WEBHOOK_SECRET": secret, "STRIPE_WEBHOOK_SECRET": secret}
    (tmp_path / "stripe").mkdir()
    with FeedServer(tmp_path, host="api.github.com") as github, FeedServer(tmp_path / "stripe", host="stripe.com") as stripe:
        github.answers["/meta"] = respond(hooks(HERE))
        stripe.answers["/files/ips/ips_webhooks.json"] = respond(b'{"WEBHOOKS": ["192.0.2.1"]}')

        def envoy(port: int) -> dict:
            config = shipped.load("feeds/envoy.yaml", port, api_github_com=github.port, stripe_com=stripe.port)
            for cluster, server in zip(config["static_resources"]["clusters"][1:], (github, stripe)):
                context = cluster["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
                context["trusted_ca"]["filename"] = str(server.authority)
            return config

        def delivery(body: bytes = b"{}") -> Request:
            return Request(b"/flexdeploy/webhooks/v1/github", signer.github(secret, body), body)

        with Upstream() as upstream, Envoy(envoy(upstream.port), env=env) as running:
            until(lambda: client.h1_length(running.port, delivery()).status == 200, what=running.tail())
            unsigned = Request(b"/flexdeploy/webhooks/v1/github", [], b"{}")
            elsewhere = Request(b"/flexdeploy/webhooks/v1/stripe", [], b"{}")
            assert client.h1_length(running.port, unsigned).status == 401
            until(lambda: running.metric("webhook_guard_feed_prefixes", feed="stripe") == 1)
            assert client.h1_length(running.port, elsewhere).status == 403
