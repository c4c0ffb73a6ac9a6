"""The contenders of `make bench`: one Envoy each, with the same listener, route and upstream, and one worker.

Responsible for what stands between listener and router. `guard` has everything that the contract asks for switched on;
the others do a part of it: what they leave out is in their favour.
"""

import ipaddress
import json
from pathlib import Path

from harness.envoy import find_module

HERE = Path(__file__).parent
SECRET, TOKEN = "bench-signing-secret-of-the-sender", "bench-url-token-of-the-sender"
PATH = "/flexdeploy/webhooks/v1/github"
HOST = "hooks.example.com"
MOST = 4 << 20  # what Envoy buffers: out of the way of a body of 1 MiB
EXTENSIONS = "type.googleapis.com/envoy.extensions"


def prefixes(count: int) -> list[str]:
    """So many prefixes of which no two can be merged, and the address that the load comes from."""
    first = int(ipaddress.IPv4Address("20.0.0.0"))
    return [f"{ipaddress.IPv4Address(first + 8 * n)}/30" for n in range(count - 1)] + ["127.0.0.1/32"]


def policy(*, addresses: int = 100_000, secrets: int = 1, name: str = "github", path: str = PATH, **more: object) -> dict:
    """A policy with a check of each kind. The secret that signs is the last of the `secrets`."""
    others = [{"value": f"another-signing-secret-{number}"} for number in range(secrets - 1)]
    return {
        "name": name,
        "match": {"path": {"prefix": path}, "methods": ["POST"], "hosts": [HOST]},
        "require": {
            "source_ip": {"allow": prefixes(addresses)},
            "token": {"query": "token", "secrets": [{"value": TOKEN, "id": "token-2026"}]},
            "signature": {"provider": "github", "secrets": [*others, {"value": SECRET, "id": "2026"}]},
        },
        "max_body_bytes": MOST,
    } | more


def guard(*policies: dict, module: Path | None = None) -> list[dict]:
    """webhook-guard as a Wasm module: this build, or another."""
    return [wasm(module or find_module(), {"policies": list(policies or [policy()])}, name="webhook_guard")]


def native_guard(*policies: dict) -> list[dict]:
    """webhook-guard as a dynamic module."""
    text = json.dumps({"policies": list(policies or [policy()])})
    return [_filter("dynamic_modules", "dynamic_modules.v3.DynamicModuleFilter", filter_name="webhook_guard",
                    dynamic_module_config={"name": "webhook_guard", "do_not_close": True},
                    filter_config={"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})]


def wasm(module: Path, configuration: dict | str, *, name: str) -> dict:
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    return _filter("wasm", "wasm.v3.Wasm", config={
        "name": name, "root_id": name, "failure_policy": "FAIL_CLOSED", "allow_on_headers_stop_iteration": True,
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}},
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}})


def lua() -> list[dict]:
    """The same HMAC in Envoy's Lua filter."""
    code = (HERE / "guard.lua").read_text().replace("@SECRET@", SECRET)
    return [_filter("lua", "lua.v3.Lua", default_source_code={"inline_string": code})]


def ext_authz() -> list[dict]:
    """The same HMAC in a native service, which Envoy hands the body."""
    uri = {"uri": "http://authz", "cluster": "authz", "timeout": "10s"}
    signature = {"patterns": [{"exact": "x-hub-signature-256"}]}
    return [_filter("ext_authz", "ext_authz.v3.ExtAuthz", http_service={"server_uri": uri}, allowed_headers=signature,
                    with_request_body={"max_request_bytes": MOST, "allow_partial_message": False})]


def bootstrap(filters: list[dict], clusters: dict[str, int]) -> dict:
    """An Envoy with these filters before the router; the first of the `clusters` is the upstream."""
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "use_remote_address": True,
        "http_filters": [*filters, _filter("router", "router.v3.Router")],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": next(iter(clusters))}}]}]},
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {
            "listeners": [{"name": "http", "address": _address(0), "per_connection_buffer_limit_bytes": MOST,
                           "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}],
            "clusters": [_cluster(name, port) for name, port in clusters.items()],
        },
    }


def _cluster(name: str, port: int) -> dict:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "per_connection_buffer_limit_bytes": MOST,
            "load_assignment": {"cluster_name": name, "endpoints": [endpoint]}}


def _filter(name: str, kind: str, **config: object) -> dict:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{EXTENSIONS}.filters.http.{kind}", **config}}


def _address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
