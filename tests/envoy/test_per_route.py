"""Which policy governs is the route's word, the Envoy way: the files of envoy/per-route/, each in a real Envoy.

And what Envoy does with the way that looks right and is not: Wasm configuration in typed_per_filter_config.
"""

from functools import partial

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import GUARD, Envoy, EnvoyRefused, bootstrap
from harness.gateway import Gateway

SECRET, TOKEN = "a-secret-that-is-32-characters-x", "a-token-of-some-length"
ENV = {"GITHUB_WEBHOOK_SECRET": SECRET, "GITLAB_WEBHOOK_TOKEN": TOKEN}
ROUTES = (shipped.DIRECTORY / "per-route/routes.yaml").read_text()
TOKENS = ("x-gitlab-token",)
VMS = r"^wasm\.envoy\.wasm\.runtime\.v8\.created$"


def github(path: str, **more: object) -> Request:
    return Request(path.encode(), signer.github(SECRET, b"{}"), b"{}", **more)


def gitlab(path: str, **more: object) -> Request:
    return Request(path.encode(), signer.gitlab_token(TOKEN), b"{}", **more)


def unsigned(path: str, **more: object) -> Request:
    return Request(path.encode(), [], b"{}", **more)


def running(name: str, good: Request, **options: object) -> Gateway:
    return Gateway(partial(shipped.load, f"per-route/{name}"), good=good.again, env=ENV, **options)


# Route metadata

@pytest.fixture(scope="module")
def by_metadata():
    with running("route-metadata.yaml", github("/team-a"), files={"routes.yaml": ROUTES}) as gateway:
        yield gateway


def test_the_route_names_the_policy(by_metadata):
    assert by_metadata.passes(github("/team-a/x")).record["policy"] == "github"
    assert by_metadata.passes(gitlab("/team-b"), removed=TOKENS).record["policy"] == "gitlab"
    assert by_metadata.passes(gitlab("/admin/hooks"), removed=TOKENS).record["policy"] == "gitlab-admin"


def test_the_policy_of_another_route_does_not_do(by_metadata):
    by_metadata.refuses(gitlab("/team-a"), "signature_missing")
    by_metadata.refuses(github("/team-b"), "token_missing")


def test_the_match_of_a_named_policy_must_hold_too(by_metadata):
    by_metadata.refuses(gitlab("/admin"), "no_policy")
    by_metadata.refuses(gitlab("/admin/users"), "no_policy")
    by_metadata.refuses(gitlab("/admin/hooks", method=b"PUT"), "method_not_allowed")


def test_a_route_without_metadata_is_closed(by_metadata):
    by_metadata.refuses(github("/"), "no_policy")
    by_metadata.refuses(github("/team-ab"), "no_policy")


def moved(gateway: Gateway, old: str, new: str) -> None:
    """The routes with `old` for `new` once, by RDS; all as shipped again where `old` is empty."""
    before = gateway.envoy.stats("rds.webhooks.update_success")
    assert old in ROUTES
    gateway.envoy.write("routes.yaml", ROUTES.replace(old, new, 1) if old else ROUTES)
    gateway.envoy.wait_for_stat("rds.webhooks.update_success", sum(before.values()) + 1)


def test_a_change_of_metadata_needs_no_reload_of_the_module(by_metadata):
    vms = by_metadata.envoy.stats(VMS)
    assert (sum(vms.values()) > 0) == (GUARD == "wasm")
    moved(by_metadata, "policy: gitlab}", "policy: github}")
    assert by_metadata.passes(github("/team-b")).record["policy"] == "github"
    by_metadata.refuses(gitlab("/team-b"), "signature_missing")
    moved(by_metadata, "", "")
    assert by_metadata.passes(gitlab("/team-b"), removed=TOKENS).record["policy"] == "gitlab"
    assert by_metadata.envoy.stats(VMS) == vms


def test_a_policy_that_is_not_configured_closes_the_route(by_metadata):
    for name in ("gitlba", "GitLab", '""'):
        moved(by_metadata, "policy: gitlab}", f"policy: {name}}}")
        exchange = by_metadata.refuses(gitlab("/team-b"), "policy_unknown")
        assert exchange.record["policy"] is None
        assert "[error]" in by_metadata.envoy.wait_for_log(f"reason=policy_unknown policy=- request_id={exchange.record['request_id']}")
    moved(by_metadata, "", "")


@pytest.mark.parametrize("value", ["7", "[gitlab]", "{name: gitlab}", "true"])
def test_a_policy_that_is_no_text_closes_the_route(by_metadata, value):
    moved(by_metadata, "policy: gitlab}", f"policy: {value}}}")
    by_metadata.refuses(gitlab("/team-b"), "policy_unknown")
    moved(by_metadata, "", "")


# The route judged is the route taken

SIGNED = {"signature": {"provider": "github", "secrets": [{"env": "SECRET"}]}}
WITH_TOKEN = {"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}}
REROUTED = {"policies": [
    {"name": "both", "require": {"all_of": [SIGNED, WITH_TOKEN]}},
    {"name": "other", "require": SIGNED},
]}


def named(policy: str, match: dict) -> dict:
    return {"match": match, "route": {"cluster": "upstream"}, "metadata": {"filter_metadata": {"webhook_guard": {"policy": policy}}}}


def rerouting(upstream_port: int, *, hold: bool) -> dict:
    """Two routes whose choice hangs on the token's parameter, which the guard takes out; the second one says so."""
    config = bootstrap(REROUTED, upstream_port=upstream_port, hold=hold, env={"SECRET": SECRET, "TOKEN": TOKEN})
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    with_token = {"prefix": "/", "query_parameters": [{"name": "token", "present_match": True}]}
    second = {"request_headers_to_add": [{"header": {"key": "x-route", "value": "second"}}]}
    manager["route_config"]["virtual_hosts"][0]["routes"] = [named("both", with_token), named("other", {"prefix": "/"}) | second]
    return config


@pytest.mark.only("wasm", "Envoy keeps its choice when a dynamic module changes a header")
def test_a_request_that_the_edits_of_the_guard_move_to_another_route_is_refused():
    """The buffer filter behind asks for the new route before the body is judged."""
    with Gateway(partial(rerouting, hold=False), good=github("/hook").again) as gateway:
        gateway.refuses(github(f"/hook?token={TOKEN}"), "host_fault")
        gateway.refuses(github(f"/hook?token={TOKEN}"), "host_fault", send=client.h2_send)


@pytest.mark.only("wasm", "Envoy keeps its choice when a dynamic module changes a header")
def test_while_the_head_is_held_the_new_route_cannot_be_seen():
    """The limit that envoy/per-route/README.md warns of. Should this fail, Envoy has learnt to tell: then refuse."""
    with Gateway(partial(rerouting, hold=True), good=github("/hook").again) as gateway:
        exchange = gateway.passes(github(f"/hook?token={TOKEN}"), target=b"/hook")
        assert exchange.record["policy"] == "both"
        assert exchange.delivered.values("x-route") == [b"second"]


@pytest.mark.only("native", "Envoy chooses anew when a Wasm module changes a header")
@pytest.mark.parametrize("hold", [True, False], ids=["held", "buffer-behind"])
def test_the_edits_of_the_guard_move_no_request_to_another_route(hold):
    with Gateway(partial(rerouting, hold=hold), good=github("/hook").again) as gateway:
        for send in (client.h1_length, client.h2_send):
            exchange = gateway.passes(github(f"/hook?token={TOKEN}"), send, target=b"/hook")
            assert exchange.record["policy"] == "both"
            assert exchange.delivered.values("x-route") == []


# A route's policy under another spelling of its path

STRICT, LAX = {"source_ip": {"allow": ["10.0.0.0/8"]}}, {"source_ip": {"allow": ["127.0.0.0/8"]}}


def spelled(upstream_port: int, *, lax_match: dict | None) -> dict:
    """An exact route for a strict policy, and one below a prefix for a laxer one; Envoy normalises nothing."""
    lax = {"name": "lax", "require": LAX} | ({"match": lax_match} if lax_match else {})
    strict = {"name": "strict", "match": {"path": "/hooks/admin"}, "require": STRICT}
    config = bootstrap({"policies": [strict, lax]}, upstream_port=upstream_port)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"] = [named("strict", {"path": "/hooks/admin"}),
                                                             named("lax", {"path_separated_prefix": "/hooks"})]
    return config


@pytest.mark.parametrize("lax_match", [{"path": {"prefix": "/hooks"}}, None], ids=["both-match", "one-matches"])
def test_a_route_reaches_no_policy_under_another_spelling(lax_match):
    with Gateway(partial(spelled, lax_match=lax_match), good=unsigned("/hooks/x").again) as gateway:
        gateway.refuses(unsigned("/hooks/admin"), "source_ip_not_allowed")
        for path in ("/hooks/ADMIN", "/hooks/%61dmin", "/hooks/admin/", "/hooks/admin%20", "/hooks/admin%252f", "/hooks/%252561dmin",
                     "/hooks/..%3b/console", "/hooks/%252e%252e/console", "/hooks/%c0%ae%c0%ae/console"):
            gateway.refuses(unsigned(path), "path_malformed")
            gateway.refuses(unsigned(path), "path_malformed", send=client.h2_send)
        gateway.passes(unsigned("/hooks/My%20Repo/"))


# Named filters

@pytest.fixture(scope="module")
def by_filter():
    with running("named-filters.yaml", github("/team-a")) as gateway:
        yield gateway


def test_each_route_has_the_guard_that_it_turns_on(by_filter):
    assert by_filter.passes(github("/team-a/x")).record["policy"] == "github"
    assert by_filter.passes(gitlab("/team-b"), removed=TOKENS).record["policy"] == "gitlab"
    by_filter.refuses(gitlab("/team-a"), "signature_missing")
    by_filter.refuses(github("/team-b"), "token_missing")


@pytest.mark.parametrize("path", ["/", "/team-ab", "/team-c", "/team-a%2f..%2fadmin", "/team-a/../admin", "//admin"])
def test_what_no_route_names_is_closed(by_filter, path):
    by_filter.drops(lambda port: client.h1_length(port, github(path)))


# FilterConfig.disabled

@pytest.fixture(scope="module")
def but_one():
    with running("disabled.yaml", github("/hooks")) as gateway:
        yield gateway


def test_the_guard_is_off_on_one_route_only(but_one):
    exchange = but_one.forwards(unsigned("/healthz", method=b"GET"))
    assert exchange.record["verdict"] is None
    but_one.passes(github("/hooks"))
    but_one.refuses(unsigned("/hooks"), "signature_missing")
    but_one.refuses(unsigned("/"), "no_policy")


DISGUISES = ["/healthz/", "/healthz/../hooks", "/healthz/..%2fhooks", "/healthz%2f..%2fhooks", "/healthz;/../hooks", "/healthz%00", "/Healthz",
             "/healthz/%2e%2e/hooks", "/healthz\\..\\hooks", "//healthz/../hooks", "/healthz%3f/hooks"]


@pytest.mark.parametrize("path", DISGUISES)
def test_the_open_route_leads_nowhere_else(but_one, path):
    but_one.drops(lambda port: client.h1_length(port, unsigned(path)))


# A virtual host

def test_a_virtual_host_turns_the_guard_on_for_all_its_routes():
    with running("virtual-host.yaml", github("/hooks")) as gateway:
        gateway.refuses(unsigned("/hooks"), "signature_missing")
        gateway.refuses(github("/anything"), "no_policy")
        gateway.refuses(unsigned("/hooks", host=b"hooks.example.com:8443"), "signature_missing")
        assert gateway.forwards(unsigned("/anything", host=b"www.example.com")).record["verdict"] is None
        gateway.drops(lambda port: client.h1_length(port, unsigned("/hooks", host=b"other.example.com")))


# The trap: Wasm configuration on a route

def per_route(**options: object) -> dict:
    """A guard that refuses all but signed requests, and a route whose own configuration would let anything through."""
    config = {"policies": [{"name": "signed", "match": {"path": {"prefix": "/"}}, "require": SIGNED}]}
    open_to_all = {"policies": [{"name": "open", "match": {"path": {"prefix": "/"}}, "require": "nothing"}]}
    wasm = bootstrap(open_to_all, upstream_port=1)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    own = wasm["typed_config"]["http_filters"][0]["typed_config"]
    if options:
        own = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": own, **options}
    return {"guard_config": config, "env": {"SECRET": SECRET}, "route": {"typed_per_filter_config": {"envoy.filters.http.wasm": own}}}


@pytest.mark.only("wasm", "a dynamic module can be configured on a route")
def test_envoy_refuses_wasm_configuration_on_a_route():
    for options in ({}, {"is_optional": False}):
        with pytest.raises(EnvoyRefused, match="doesn't support virtual host or route specific configurations"):
            with Envoy(bootstrap(upstream_port=1, **per_route(**options))):
                pass


@pytest.mark.only("wasm", "a dynamic module can be configured on a route")
def test_marked_optional_it_is_accepted_and_ignored():
    """The file says that anything may pass, and the guard of the listener still judges. The other way round nothing would."""
    options = per_route(is_optional=True)
    with Gateway(options.pop("guard_config"), good=github("/").again, **options) as gateway:
        assert gateway.refuses(unsigned("/"), "signature_missing").record["policy"] == "signed"
