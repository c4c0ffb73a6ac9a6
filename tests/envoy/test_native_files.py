"""The files of envoy/native/, each in a real Envoy: the whole file, secrets of a route's own, and new versions under load.

What a dynamic module does with a request is shown by the other tests of this folder, which run with it as they stand; that a
new configuration drops no request and a bad one changes nothing, for any configuration, by test_reload.py.
"""

import copy
import json
import time
from collections.abc import Callable
from functools import partial

import pytest
import yaml

from harness import client, shipped, signer
from harness.client import Request
from harness.deliveries import HOOKS, SECRETS, deliveries, send
from harness.envoy import Envoy, EnvoyRefused
from harness.gateway import Gateway
from harness.load import Load
from harness.upstream import Upstream

pytestmark = pytest.mark.only("native", "these files load the dynamic module")
FRAMINGS = pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())


# The whole file

def test_it_is_the_standalone_file_but_for_the_module_and_its_metrics():
    native, wasm = (yaml.safe_load((shipped.DIRECTORY / name).read_text()) for name in ("native/envoy.yaml", "standalone/envoy.yaml"))
    (of_native,), (of_wasm,) = ([one["typed_config"] for one in manager(config)["http_filters"][:-1]] for config in (native, wasm))
    guards = [json.loads(shipped.configuration(one)["value"]) for one in (of_native, of_wasm)]
    listed = guards[0].pop("environment")
    assert guards[0] == guards[1]
    assert listed == of_wasm["config"]["vm_config"]["environment_variables"]["host_env_keys"]
    assert native.pop("layered_runtime") and wasm.pop("stats_config")
    of_native.clear(), of_wasm.clear()
    assert native == wasm


def manager(config: dict) -> dict:
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def test_every_delivery_meets_its_verdict_and_is_counted():
    with Upstream() as upstream, Envoy(shipped.load("native/envoy.yaml", upstream.port), env=SECRETS) as envoy:
        rows = deliveries()
        statuses = [send(envoy.port, row) for row in rows]
        deadline = time.monotonic() + 10
        while len(records := envoy.access_log()) < len(rows) and time.monotonic() < deadline:
            time.sleep(0.05)
        got = [f"{status} {record['reason']}" for status, record in zip(statuses, records, strict=True)]
        assert dict(zip([row.webhook for row in rows], got, strict=True)) == {row.webhook: row.expected for row in rows}
        passed = sum(row.expected.startswith("200") for row in rows)
        assert len(upstream.requests) == passed
        assert envoy.metric("webhook_guard_requests_total", verdict="allow") == passed
        assert envoy.metric("webhook_guard_requests_total") == len(rows)


# Secrets of a route's own

TEAMS = {"TEAM_A_WEBHOOK_SECRET": "the-secret-of-team-a-0001", "TEAM_B_WEBHOOK_SECRET": "the-secret-of-team-b-0001"}
A, B = TEAMS.values()


def to(path: str, secret: str | None, body: bytes = b"{}", **more: object) -> Request:
    return Request(path.encode(), signer.github(secret, body) if secret else [], body, **more)


def per_route(port: int, change: Callable[[dict], None] = lambda _: None) -> dict:
    config = shipped.load("native/per-route.yaml", port)
    change(config)
    return config


def route(config: dict, name: str) -> dict:
    (found,) = [one for one in manager(config)["route_config"]["virtual_hosts"][0]["routes"] if one["name"] == name]
    return found


def own(config: dict, name: str) -> dict:
    """The guard's configuration of a route, as a reference to its text."""
    return shipped.configuration(route(config, name)["typed_per_filter_config"]["webhook_guard"])


@pytest.fixture(scope="module")
def routes():
    with Gateway(per_route, good=lambda: to("/team-a", A), env=TEAMS) as gateway:
        yield gateway


@FRAMINGS
def test_a_delivery_for_one_route_does_not_do_on_another(routes, send):
    """Both policies have one name, one provider and one body: the secret alone tells them apart."""
    assert routes.passes(to("/team-a", A), send).record["policy"] == "github"
    assert routes.passes(to("/team-b/push", B), send).record["policy"] == "github"
    routes.refuses(to("/team-b", A), "signature_mismatch", send=send)
    routes.refuses(to("/team-a", B), "signature_mismatch", send=send)
    routes.refuses(to("/team-b", None), "signature_missing", send=send)


def test_a_long_body_is_held_for_the_configuration_of_its_route(routes):
    body = bytes(300_000)
    routes.passes(to("/team-b", B, body))
    routes.refuses(to("/team-b", A, body), "signature_mismatch")


@pytest.mark.parametrize("path", ["/", "/team-ab", "/team-c", "/team", "/TEAM-A", "/healthz/", "/healthz/x"])
def test_the_rest_is_closed(routes, path):
    for secret in (A, B, None):
        routes.refuses(to(path, secret), "no_policy")


def test_the_configuration_of_the_listener_governs_the_other_routes(routes):
    assert routes.passes(to("/healthz", None, b"", method=b"GET")).record["policy"] == "health"
    routes.refuses(to("/healthz", A), "method_not_allowed")


@pytest.mark.parametrize("path", ["/team-a%2f..%2fteam-b", "/team-b/..%2fteam-a", "/team-a%00", "/team-a%252f..%252fteam-b"])
def test_no_spelling_of_a_path_is_judged_with_the_secret_of_another_route(routes, path):
    """The delivery would be right for the route whose path it pretends to have."""
    for secret in (A, B):
        routes.drops(lambda port: client.h1_length(port, to(path, secret)))  # noqa: B023


def test_a_dot_segment_leads_to_the_route_that_judges(routes):
    """Envoy resolves it before it chooses the route."""
    exchange = routes.passes(to("/team-a/../team-b", B), target=b"/team-b")
    assert exchange.record["path"] == "/team-b"
    routes.refuses(to("/team-a/../team-b", A), "signature_mismatch")


def broken(text: str, other: str, config: dict) -> None:
    value = own(config, "team-b")
    assert text in value["value"]
    value["value"] = value["value"].replace(text, other, 1)


BAD = {
    "unknown-key": (partial(broken, '"require"', '"requier"'), "policies[0].requier: is not a key that is known here"),
    "not-listed": (partial(broken, '["TEAM_B_WEBHOOK_SECRET"]', '["TEAM_A_WEBHOOK_SECRET"]'),
                   "policies[0].require.signature.secrets[0].env: is not one of the variables that `environment` lists"),
    "not-json": (partial(broken, "{", ""), "configuration: is not JSON"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD.keys())
def test_a_route_whose_configuration_is_bad_is_refused_at_load(change, message):
    """The whole listener, that is: no request is taken, neither on that route nor on its neighbour."""
    with pytest.raises(EnvoyRefused) as refused, Envoy(per_route(1, change), env=TEAMS):
        pass
    assert f"webhook_guard: configuration refused: {message}" in refused.value.log
    assert not [secret for secret in TEAMS.values() if secret in refused.value.log]


def test_a_secret_of_one_route_that_is_not_set_is_named_and_nothing_starts():
    with pytest.raises(EnvoyRefused) as refused, Envoy(per_route(1), env={"TEAM_A_WEBHOOK_SECRET": A, "TEAM_B_WEBHOOK_SECRET": ""}):
        pass
    assert "configuration refused: policies[0].require.signature.secrets[0].env" in refused.value.log


def test_under_the_name_of_no_filter_a_route_has_no_configuration_of_its_own():
    """Which Envoy ignores. The listener's governs then, and closes the route: what the README warns of costs no security."""
    def renamed(config: dict) -> None:
        configs = route(config, "team-b")["typed_per_filter_config"]
        configs["guard"] = configs.pop("webhook_guard")
    with Gateway(partial(per_route, change=renamed), good=lambda: to("/team-a", A), env=TEAMS) as gateway:
        gateway.refuses(to("/team-b", B), "no_policy")


def test_a_virtual_host_may_have_one_too_and_that_of_a_route_goes_before():
    def moved(config: dict) -> None:
        (host,) = manager(config)["route_config"]["virtual_hosts"]
        host["typed_per_filter_config"] = route(config, "team-b").pop("typed_per_filter_config")
    with Gateway(partial(per_route, change=moved), good=lambda: to("/team-a", A), env=TEAMS) as gateway:
        gateway.passes(to("/team-b", B))
        gateway.refuses(to("/team-b", A), "signature_mismatch")
        gateway.refuses(to("/team-a", B), "signature_mismatch")
        gateway.refuses(to("/healthz", None, b"", method=b"GET"), "no_policy")


# New versions of the watched files, under load

class Watched:
    """A bootstrap of envoy/native/, the file that it watches, and Envoy's counters of what becomes of a version."""

    def __init__(self, bootstrap: str, file: str, accepted: str, rejected: str) -> None:
        self.bootstrap, self.file, self.accepted, self.rejected = bootstrap, file, accepted, rejected

    def version(self, old: str = "", new: str = "") -> str:
        """The shipped file, with `new` for `old` in the guard's configuration."""
        found = copy.deepcopy(shipped.resource(f"native/{self.file}"))
        (resource,) = found["resources"]
        filters = [resource] if "typed_config" in resource else resource["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        value = shipped.configuration(filters[0]["typed_config"])
        assert old in value["value"]
        value["value"] = value["value"].replace(old, new, 1)
        return json.dumps(found)


SOURCES = {
    "LDS": Watched("lds.yaml", "listener.yaml", r"^listener_manager\.lds\.update_success$", r"^listener_manager\.lds\.update_rejected$"),
    "ECDS": Watched("ecds.yaml", "guard.yaml", r"^extension_config_discovery\..*\.config_reload$",
                    r"^extension_config_discovery\..*\.(update_rejected|config_fail)$"),
}


def push(path: str = "github") -> Request:
    return to(f"{HOOKS}/{path}", SECRETS["GITHUB_WEBHOOK_SECRET"])


def gitlab(path: str) -> Request:
    return Request(f"{HOOKS}/{path}".encode(), signer.gitlab_token(SECRETS["GITLAB_WEBHOOK_TOKEN"]), b"{}")


@pytest.fixture(scope="module", params=SOURCES.values(), ids=SOURCES.keys())
def watched(request):
    source = request.param
    config = partial(shipped.load, f"native/{source.bootstrap}")
    with Gateway(config, good=push, env=SECRETS, files={source.file: source.version()}) as gateway:
        gateway.source = source
        yield gateway


def update(gateway: Gateway, text: str, counter: str) -> None:
    before = sum(gateway.envoy.stats(counter).values())
    gateway.envoy.write(gateway.source.file, text)
    gateway.envoy.wait_for_stat(counter, before + 1)


def answers(gateway: Gateway, path: str, status: int) -> bool:
    """Until the worker has the version under which it is answered so."""
    return any(client.h1_length(gateway.envoy.port, gitlab(path)).status == status or time.sleep(0.01) for _ in range(500))


def test_a_new_version_takes_effect_and_drops_no_request(watched):
    with Load(watched.envoy.port, push) as load:
        for old, new, opened, closed in (("v1/gitlab", "v1/builds", "builds", "gitlab"), ("", "", "gitlab", "builds")):
            update(watched, watched.source.version(old, new), watched.source.accepted)
            assert answers(watched, opened, 200) and answers(watched, closed, 404)
            seen = load.statuses[200]
            while load.statuses[200] < seen + 5:
                time.sleep(0.01)
    assert load.statuses.keys() == {200}
    watched.refuses(Request(f"{HOOKS}/github".encode(), [], b"{}"), "signature_missing")


@pytest.mark.parametrize("old, new", [('"require"', '"requier"'), (', "GITLAB_WEBHOOK_TOKEN"]', "]"), ("{", "")], ids=["unknown-key", "not-listed", "not-json"])
def test_a_bad_version_leaves_the_old_one_serving(watched, old, new):
    with Load(watched.envoy.port, push) as load:
        update(watched, watched.source.version(old, new), watched.source.rejected)
        seen = load.statuses[200]
        while load.statuses[200] < seen + 50:
            time.sleep(0.01)
    assert load.statuses.keys() == {200}
    assert "webhook_guard: configuration refused: " in watched.envoy.log_text()
    watched.passes(gitlab("gitlab"), removed=("x-gitlab-token",))
    watched.refuses(Request(f"{HOOKS}/github".encode(), [], b"{}"), "signature_missing")
