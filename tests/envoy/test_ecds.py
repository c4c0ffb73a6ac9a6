"""The guard from a file of its own: envoy/ecds, in a real Envoy. Nothing passes before it has come, nor by a bad version of it."""

import copy
import json
import socket
import time
from collections.abc import Callable
from functools import partial

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import GUARD, Envoy
from harness.gateway import NOTHING, Gateway
from harness.upstream import Upstream

ENV = {"GITHUB_WEBHOOK_SECRET": "github-key-of-some-length", "GITLAB_WEBHOOK_TOKEN": "gitlab-token-of-some-length"}
HOOKS = "/flexdeploy/webhooks/v1"
FILE = "guard.yaml"
STAT = r"^extension_config_discovery\.http_filter\.webhook_guard\."
REFUSED = rf"{STAT}(update_rejected|update_failure|config_fail)$"
FRAMINGS = pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())


def version(change: Callable[[dict, dict], None] = lambda *_: None) -> str:
    """The shipped file, after `change` of its one resource and of the guard's configuration in it."""
    found = copy.deepcopy(shipped.resource("ecds/guard.yaml"))
    resource = found["resources"][0]
    value = shipped.configuration(resource["typed_config"])
    guard = json.loads(value["value"])
    change(resource, guard)
    value["value"] = json.dumps(guard)
    return json.dumps(found)


def moved(_: dict, guard: dict) -> None:
    guard["policies"][0]["match"] = {"path": f"{HOOKS}/moved"}


def mistyped(_: dict, guard: dict) -> None:
    guard["policies"][0]["requier"] = guard["policies"][0].pop("require")


def without_a_module(resource: dict, _: dict) -> None:
    if GUARD == "native":
        resource["typed_config"]["dynamic_module_config"]["name"] = "nowhere"
    else:
        resource["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = "/nowhere/guard.wasm"


def of_another_name(resource: dict, _: dict) -> None:
    resource["name"] = "guard"


def without_its_secret(resource: dict, guard: dict) -> None:
    if GUARD == "native":
        del guard["environment"]
    else:
        resource["typed_config"]["config"]["vm_config"] |= {"environment_variables": {"host_env_keys": []}, "vm_id": "another"}


BAD = {
    "mistyped": version(mistyped), "no-module": version(without_a_module), "other-name": version(of_another_name),
    "no-secret": version(without_its_secret), "empty": "", "no-resource": '{"resources": []}', "not-yaml": "{",
}
ALL_BAD = pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())


def push(path: str = f"{HOOKS}/github", **signing: bool) -> Request:
    return Request(path.encode(), signer.github(ENV["GITHUB_WEBHOOK_SECRET"], b"{}", **signing), b"{}")


def unsigned(path: str) -> Request:
    return Request(path.encode(), [], b"{}")


@pytest.fixture(scope="module")
def gateway():
    with Gateway(partial(shipped.load, "ecds/envoy.yaml"), good=push, env=ENV, files={FILE: version()}) as gateway:
        yield gateway


def with_flags(port: int) -> dict:
    config = shipped.load("ecds/envoy.yaml", port)
    (log,) = manager(config["static_resources"]["listeners"][0])["access_log"]
    log["typed_config"]["log_format"]["json_format"]["flags"] = "%RESPONSE_FLAGS%"
    return config


def manager(listener: dict) -> dict:
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@FRAMINGS
def test_a_signed_webhook_arrives_and_a_forged_one_leaves_no_byte(gateway, send):
    assert gateway.passes(push(), send).identity["policy"] == b"github"
    gateway.refuses(push(flip=True), "signature_mismatch", send=send)
    gateway.refuses(unsigned(f"{HOOKS}/github"), "signature_missing", send=send)
    gateway.refuses(push("/flexdeploy/login"), "no_policy", send=send)


@ALL_BAD
def test_a_bad_version_leaves_the_old_one_serving(gateway, bad):
    before = sum(gateway.envoy.stats(REFUSED).values())
    gateway.envoy.write(FILE, bad)
    gateway.envoy.wait_for_stat(REFUSED, before + 1)
    gateway.passes(push())
    gateway.refuses(push(flip=True), "signature_mismatch")
    gateway.refuses(push(f"{HOOKS}/moved"), "no_policy")


def test_a_good_version_takes_effect_also_after_a_bad_one(gateway):
    for change, good, closed in ((moved, f"{HOOKS}/moved", f"{HOOKS}/github"), (lambda *_: None, f"{HOOKS}/github", f"{HOOKS}/moved")):
        gateway.envoy.write(FILE, version(change))
        arrives(gateway, good)
        exchange = gateway.forwards(push(good))
        assert (exchange.record["verdict"], exchange.record["reason"]) == ("allow", "ok")
        mark = gateway.upstream.mark()
        assert client.h1_length(gateway.envoy.port, push(closed)).status == 404
        assert gateway.upstream.delta(mark) == NOTHING


@ALL_BAD
def test_with_a_bad_first_version_nothing_passes_until_a_good_one_comes(bad):
    with Upstream() as upstream, Envoy(with_flags(upstream.port), env=ENV, files={FILE: bad}) as envoy:
        requests = [push(), unsigned("/"), unsigned(f"{HOOKS}/gitlab")]
        responses = [client.h1_length(envoy.port, request) for request in requests]
        assert ([response.status for response in responses], upstream.mark()) == ([500] * 3, NOTHING)
        assert envoy.record(requests[0].test_id)["flags"] == "NFCF"  # Envoy's word for a filter without configuration
        envoy.write(FILE, version())
        assert _eventually(lambda: client.h1_length(envoy.port, push()).status == 200)
        assert client.h1_length(envoy.port, push(flip=True)).status == 401


def test_while_a_control_plane_is_silent_the_listener_does_not_listen():
    """The file's own listener, but with a control plane for the path that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, Upstream() as upstream:
        config = shipped.load("ecds/envoy.yaml", upstream.port)
        (listener,) = config["static_resources"].pop("listeners")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = listener["address"]["socket_address"]["port_value"] = free.getsockname()[1]
        source = manager(listener)["http_filters"][0]["config_discovery"]["config_source"]
        del source["path_config_source"]
        grpc = {"envoy_grpc": {"cluster_name": "control"}}
        source["api_config_source"] = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [grpc]}
        control = copy.deepcopy(config["static_resources"]["clusters"][0]) | {"name": "control", "typed_extension_protocol_options": HTTP2}
        control["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = silent.getsockname()[1]
        config["static_resources"]["clusters"].append(control)
        config["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": "./lds.json"}}}
        typed = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"} | listener
        with Envoy(config, env=ENV, files={"lds.json": '{"resources": []}'}) as envoy:
            envoy.write("lds.json", json.dumps({"resources": [typed]}))
            envoy.wait_for_stat(r"^listener_manager\.total_listeners_warming$", 1)
            with pytest.raises(ConnectionRefusedError):
                client.h1_length(port, push())
            assert upstream.mark() == NOTHING


HTTP2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http2_protocol_options": {}}}}


def arrives(gateway: Gateway, path: str) -> None:
    """Until the version that opens `path` has come to the worker."""
    assert _eventually(lambda: client.h1_length(gateway.envoy.port, push(path)).status == 200)


def _eventually(holds: Callable[[], bool]) -> bool:
    return any(holds() or time.sleep(0.01) for _ in range(2000))
