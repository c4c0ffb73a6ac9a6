"""With the failure policy that we ship, nothing opens the route: no module, one that traps, or an update that is no good."""

import copy
import json
import time
from pathlib import Path

import pytest
import wasmtime

from gateways import generated
from harness.deliveries import SECRETS
from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import Envoy, EnvoyRefused
from harness.gateway import NOTHING, Gateway
from harness.upstream import Upstream

ENV = {"GITHUB_WEBHOOK_SECRET": "github-key-of-some-length", "GITLAB_WEBHOOK_TOKEN": "gitlab-token-of-some-length"}
REJECTED = r"^extension_config_discovery\..*\.(update_rejected|config_fail)$"
TAKEN = r"^extension_config_discovery\..*\.config_reload$"


# The least plugin that Envoy loads: it says yes to everything, and traps at the head of a request with more than so many
# headers. What a trap does to requests is the host's business, so the module need not be the guard.
MODULE = """(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func $yes (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (export "proxy_on_configure" (func $yes))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 1) (i32.const HEADERS)) (then (unreachable)))
    (i32.const 0)))"""


def module(path: Path, *, headers: int) -> str:
    path.write_bytes(wasmtime.wat2wasm(MODULE.replace("HEADERS", str(headers))))
    return str(path)


def push() -> Request:
    return Request(b"/flexdeploy/webhooks/v1/github", signer.github(ENV["GITHUB_WEBHOOK_SECRET"], b"{}"), b"{}")


def held_with(module: str) -> str:
    resource = json.loads(generated.istio_held_resource())
    resource["resources"][0]["typed_config"]["config"]["vm_config"]["code"] = {"local": {"filename": module}}
    return json.dumps(resource)


def test_a_module_that_cannot_be_loaded_opens_nothing(tmp_path):
    (tmp_path / "broken.wasm").write_bytes(b"no module at all")
    config = generated.gateway_held(1)
    generated.manager(config)["http_filters"][0]["typed_config"]["config"]["vm_config"]["code"] = {
        "local": {"filename": str(tmp_path / "broken.wasm")}}
    with pytest.raises(EnvoyRefused), Envoy(config, env=ENV):
        pass


def test_a_module_that_traps_always_refuses_everything(tmp_path):
    resource = held_with(module(tmp_path / "trap.wasm", headers=0))
    with Upstream() as upstream, Envoy(generated.istio_held(upstream.port), env=ENV, files={generated.ECDS: resource}) as envoy:
        requests = [push() for _ in range(5)]
        assert [client.h1_length(envoy.port, request).status for request in requests] == [503] * 5
        assert (envoy.record(requests[0].test_id)["details"], upstream.mark()) == ("wasm_fail_stream", NOTHING)
        assert sum(envoy.stats(r"vm_reload").values()) > 0, "FAIL_RELOAD did not start the module anew"


@pytest.fixture
def shipped_with_a_trap(tmp_path):
    """The standalone file as shipped, but for a module that lets everything pass and traps at a request with many headers."""
    def config(port: int) -> dict:
        found = shipped.load("standalone/envoy.yaml", port)
        plugin = generated.manager(found)["http_filters"][0]["typed_config"]["config"]
        assert plugin["failure_policy"] == "FAIL_RELOAD"
        plugin["vm_config"]["code"]["local"]["filename"] = module(tmp_path / "trap.wasm", headers=30)
        return found

    with Upstream() as upstream, Envoy(config(upstream.port), env=SECRETS) as envoy:
        assert client.h1_length(envoy.port, push()).status == 200  # which also warms the pool
        yield envoy, upstream


def poisoned() -> Request:
    return push().again(headers=[(b"x-more", b"%d" % number) for number in range(40)])


def test_after_a_trap_the_next_request_is_served(shipped_with_a_trap):
    envoy, upstream = shipped_with_a_trap
    for _ in range(3):
        traps(envoy, upstream)
        serves_again(envoy, upstream)


def test_traps_in_quick_succession_close_the_route_until_the_back_off_is_over(shipped_with_a_trap):
    """The second start within a second has to wait. Who comes meanwhile is refused, not let through."""
    envoy, upstream = shipped_with_a_trap
    traps(envoy, upstream)
    traps(envoy, upstream)
    assert serves_again(envoy, upstream) > 0
    assert sum(envoy.stats(r"vm_reload_backoff$").values()) > 0
    assert sum(envoy.stats(r"vm_reload_success$").values()) > 0


def traps(envoy: Envoy, upstream: Upstream) -> None:
    mark, request = upstream.mark(), poisoned()
    response = client.h1_length(envoy.port, request)
    assert (response.status, upstream.delta(mark)) == (503, NOTHING)
    assert envoy.record(request.test_id)["details"] == "wasm_fail_stream"


def serves_again(envoy: Envoy, upstream: Upstream) -> int:
    """How many requests were refused before one was served; of those nothing may reach the upstream."""
    for refused in range(1000):
        mark = upstream.mark()
        response = client.h1_length(envoy.port, push())
        if response.status == 200:
            assert upstream.delta(mark).requests == 1
            return refused
        assert (response.status, upstream.delta(mark)) == (503, NOTHING)
        time.sleep(0.01)
    raise AssertionError(f"the module did not come back; Envoy's log ends:\n{envoy.tail()}")


def test_a_bad_update_changes_nothing_and_a_good_one_is_taken(tmp_path):
    (tmp_path / "broken.wasm").write_bytes(b"no module at all")
    good = generated.istio_held_resource()
    with Gateway(generated.istio_held, good=push, env=ENV, files={generated.ECDS: good}) as gateway:
        gateway.envoy.write(generated.ECDS, held_with(str(tmp_path / "broken.wasm")))
        gateway.envoy.wait_for_stat(REJECTED, 1)
        gateway.refuses(Request(push().target, [], b"{}"), "signature_missing")
        changed = copy.deepcopy(json.loads(good))
        changed["resources"][0]["typed_config"]["config"]["vm_config"]["vm_id"] = "another"
        taken = sum(gateway.envoy.stats(TAKEN).values())
        gateway.envoy.write(generated.ECDS, json.dumps(changed))
        gateway.envoy.wait_for_stat(TAKEN, taken + 1)
        gateway.refuses(Request(push().target, [], b"{}"), "signature_missing")
