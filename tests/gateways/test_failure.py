"""With the failure policy that we ship, nothing opens the route: no module, one that traps, or an update that is no good."""

import copy
import json

import pytest

from gateways import generated
from harness import client, signer
from harness.client import Request
from harness.envoy import Envoy, EnvoyRefused
from harness.gateway import NOTHING, Gateway
from harness.upstream import Upstream

ENV = {"GITHUB_WEBHOOK_SECRET": "github-key-of-some-length", "GITLAB_WEBHOOK_TOKEN": "gitlab-token-of-some-length"}
REJECTED = r"^extension_config_discovery\..*\.(update_rejected|config_fail)$"
TAKEN = r"^extension_config_discovery\..*\.config_reload$"


def section(number: int, data: bytes) -> bytes:
    return bytes([number, len(data)]) + data


def function(name: str, kind: int = 0, index: int = 0) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind, index])


def trapping_module() -> bytes:
    """The least plugin that Envoy loads, by hand: it says yes to everything, and traps at a request's head."""
    yes = ["proxy_on_vm_start", "proxy_on_configure", "proxy_validate_configuration"]
    exports = [function("memory", 2), function("proxy_abi_version_0_2_1", index=0), function("proxy_on_memory_allocate", index=1),
               function("proxy_on_context_create", index=0 + 2), *(function(name, index=3) for name in yes),
               function("proxy_on_request_headers", index=4)]
    # () -> (), (i32) -> i32, (i32, i32) -> (), (i32, i32) -> i32, (i32, i32, i32) -> i32
    types = b"\x05" + b"\x60\x00\x00" + b"\x60\x01\x7f\x01\x7f" + b"\x60\x02\x7f\x7f\x00" + b"\x60\x02\x7f\x7f\x01\x7f" + b"\x60\x03\x7f\x7f\x7f\x01\x7f"
    bodies = [b"\x00\x0b", b"\x00\x41\x80\x08\x0b", b"\x00\x0b", b"\x00\x41\x01\x0b", b"\x00\x00\x0b"]
    code = bytes([len(bodies)]) + b"".join(bytes([len(body)]) + body for body in bodies)
    listed = b"".join(exports)
    length = len(listed) + 1
    return (b"\0asm\x01\0\0\0" + section(1, types) + section(3, b"\x05\x00\x01\x02\x03\x04") + section(5, b"\x01\x00\x01")
            + b"\x07" + bytes([length & 0x7F | 0x80, length >> 7]) + bytes([len(exports)]) + listed + section(10, code))


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


def test_a_trap_refuses_that_request_and_every_other(tmp_path):
    (tmp_path / "trap.wasm").write_bytes(trapping_module())
    with Upstream() as upstream, Envoy(generated.istio_held(upstream.port), env=ENV,
                                       files={generated.ECDS: held_with(str(tmp_path / "trap.wasm"))}) as envoy:
        before = upstream.mark()
        statuses = {client.h1_length(envoy.port, push()).status for _ in range(5)}
        assert (statuses, upstream.delta(before)) == ({503}, NOTHING)
        assert sum(envoy.stats(r"vm_reload").values()) > 0, "FAIL_RELOAD did not start the module anew"


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
