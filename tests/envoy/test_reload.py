"""A new configuration while requests come in: a good one takes effect and drops none, a bad one changes nothing.

By file, in place of a control plane: LDS (a whole listener) and ECDS (the filter alone).
"""

import copy
import json
import time
from collections.abc import Callable

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import FILTER_TYPE, bootstrap
from harness.gateway import Gateway
from harness.load import Load

SECRET = "a-secret-that-is-32-characters-x"
ENV = {"SECRET": SECRET}


def guard(*paths: str, **policy: object) -> dict:
    signature = {"provider": "github", "secrets": [{"env": "SECRET"}]}
    return {"policies": [{"name": path[1:], "match": {"path": path}, "require": {"signature": signature}} | policy for path in paths]}


BAD = {
    "unknown-key": guard("/v1", requires={}),
    "unset-secret": {"policies": [{"name": "v1", "match": {"path": "/v1"}, "require": {"signature": {"provider": "github", "secrets": [{"env": "GONE"}]}}}]},
    "not-json": "policies: []",
    "open-by-mistake": guard("/v1", require={}),
}


def to(path: str, headers: client.Headers | None = None) -> Request:
    return Request(path.encode(), signer.github(SECRET, b"{}") if headers is None else headers, b"{}")


class Source:
    """Where the configuration comes from: how Envoy is told to watch it, the text of a version, and Envoy's own counters."""

    def whole(self, guard_config: dict | str, port: int) -> dict:
        tags = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]
        return bootstrap(guard_config, upstream_port=port, env=ENV, stats_tags=tags) | {"node": {"id": "gateway", "cluster": "gateway"}}

    def resources(self, *resources: dict) -> str:
        return json.dumps({"resources": resources})


class Lds(Source):
    file, accepted, rejected = "lds.json", r"^listener_manager\.lds\.update_success$", r"^listener_manager\.lds\.update_rejected$"

    def bootstrap(self, port: int) -> dict:
        self.port = port
        config = self.whole(guard("/v1"), port)
        del config["static_resources"]["listeners"]
        return config | {"dynamic_resources": {"lds_config": {"path_config_source": {"path": f"./{self.file}"}}}}

    def version(self, guard_config: dict | str) -> str:
        listener = copy.deepcopy(self.whole(guard_config, self.port)["static_resources"]["listeners"][0])
        return self.resources({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"} | listener)


class Ecds(Source):
    file, accepted, rejected = "ecds.json", r"^extension_config_discovery\..*\.config_reload$", r"^extension_config_discovery\..*\.(update_rejected|config_fail)$"

    def bootstrap(self, port: int) -> dict:
        config = self.whole(guard("/v1"), port)
        filters = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        source = {"path_config_source": {"path": f"./{self.file}"}}
        filters[0] = {"name": "guard", "config_discovery": {"config_source": source, "type_urls": [FILTER_TYPE]}}
        return config

    def version(self, guard_config: dict | str) -> str:
        listener = self.whole(guard_config, 1)["static_resources"]["listeners"][0]
        own = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]
        kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
        return self.resources({"@type": kind, "name": "guard", "typed_config": own})


@pytest.fixture(scope="module", params=[Lds, Ecds], ids=["LDS", "ECDS"])
def gateway(request):
    source = request.param()
    source.port = 0
    first = source.version(guard("/v1"))

    def config(port: int) -> dict:
        return source.bootstrap(port)

    with Gateway(config, good=lambda: to("/v1"), files={source.file: first}) as gateway:
        gateway.source = source
        yield gateway


def update(gateway: Gateway, guard_config: dict | str, counter: str) -> None:
    before = sum(gateway.envoy.stats(counter).values())
    gateway.envoy.write(gateway.source.file, gateway.source.version(guard_config))
    gateway.envoy.wait_for_stat(counter, before + 1)


def test_a_good_configuration_takes_effect_and_drops_no_request(gateway):
    port = gateway.envoy.port
    with Load(port, lambda: to("/v1")) as first, Load(port, lambda: to("/v1")) as second:
        for paths in (["/v1", "/v2"], ["/v1"], ["/v1", "/v3"], ["/v1"]):
            update(gateway, guard(*paths), gateway.source.accepted)
            for path in ("/v2", "/v3"):
                status = 200 if path in paths else 404
                assert _eventually(lambda: client.h1_length(port, to(path)).status == status)  # noqa: B023
            # Both go on under the new configuration, however fast it came.
            seen = [load.statuses[200] for load in (first, second)]
            assert _eventually(lambda: all(load.statuses[200] > count + 5 for load, count in zip((first, second), seen)))  # noqa: B023
    assert first.statuses.keys() == second.statuses.keys() == {200}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_configuration_leaves_the_old_one_serving(gateway, bad):
    refused = gateway.envoy.metric("webhook_guard_config_rejected_total")
    with Load(gateway.envoy.port, lambda: to("/v1")) as load:
        update(gateway, bad, gateway.source.rejected)
        assert _eventually(lambda: load.statuses[200] > 100)
    assert load.statuses.keys() == {200}
    gateway.refuses(to("/v1", []), "signature_missing")
    gateway.refuses(to("/v2"), "no_policy")
    assert gateway.envoy.metric("webhook_guard_config_rejected_total") > refused
    assert "configuration refused: " in gateway.envoy.log_text()
    assert SECRET not in gateway.envoy.log_text()


def test_after_a_bad_one_a_good_one_is_taken(gateway):
    update(gateway, BAD["unknown-key"], gateway.source.rejected)
    update(gateway, guard("/v1", "/v4"), gateway.source.accepted)
    assert _eventually(lambda: client.h1_length(gateway.envoy.port, to("/v4")).status == 200)


def _eventually(holds: Callable[[], bool]) -> bool:
    return any(holds() or time.sleep(0.01) for _ in range(500))


def test_what_was_delivered_stays_known_when_the_configuration_changes(gateway):
    def once(*paths: str) -> dict:
        return guard(*paths, duplicates={})

    def delivery() -> Request:
        return Request(b"/once", signer.github(SECRET, body), body)

    body = b'{"kept": %d}' % time.monotonic_ns()
    update(gateway, once("/once"), gateway.source.accepted)
    assert _eventually(lambda: client.h1_length(gateway.envoy.port, delivery()).status == 200)
    for paths in (["/once", "/another"], ["/once"]):
        update(gateway, once(*paths), gateway.source.accepted)
        assert _eventually(lambda: client.h1_length(gateway.envoy.port, delivery()).status == 409)
    update(gateway, guard("/v1"), gateway.source.accepted)
    assert _eventually(lambda: client.h1_length(gateway.envoy.port, to("/v1")).status == 200)
