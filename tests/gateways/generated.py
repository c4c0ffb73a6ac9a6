"""The Envoy configuration that Istio and Envoy Gateway make of the manifests under envoy/, for one Envoy without a cluster.

Written after their translators' source: istio's model/extensions.go and core/listener_builder.go, envoyproxy/gateway's
xds/translator/wasm.go and httpfilters.go. Only what matters to the guard is here: the filters and their order, where their
configuration comes from, failure policy, per-route enabling, limits, access log, labels. The discovery service is a file,
and the module, which an agent or a controller would have fetched, is a local one.
"""

import json
import re

import yaml

from harness import shipped
from harness.envoy import bootstrap, find_module

TYPE = "type.googleapis.com/envoy."
WASM = f"{TYPE}extensions.filters.http.wasm.v3.Wasm"
ECDS = "ecds.json"


def manifest(name: str, kind: str) -> dict:
    """The `spec` of the one manifest of that kind in a file."""
    found = [one for one in yaml.safe_load_all((shipped.DIRECTORY / name).read_text()) if one.get("kind") == kind]
    assert len(found) == 1, (name, kind)
    return found[0]["spec"]


def istio_wasmplugin(port: int) -> dict:
    return _istio(port, {"config_discovery": _istio_source()}, "webhooks.webhook-guard", "istio/buffer-behind.yaml")


def istio_wasmplugin_resource() -> str:
    spec = manifest("istio/wasmplugin.yaml", "WasmPlugin")
    assert all(one["valueFrom"] == "HOST" for one in spec["vmConfig"]["env"])
    plugin = _plugin("webhooks.webhook-guard", spec["pluginName"], spec["pluginConfig"], [one["name"] for one in spec["vmConfig"]["env"]])
    return _resource("webhooks.webhook-guard", plugin | {"failure_policy": spec["failStrategy"]})


def istio_held(port: int) -> dict:
    value = _patch("istio/envoyfilter-held.yaml", "HTTP_FILTER")
    # A file in place of the control plane; when the listener waits stays as it is.
    del value["config_discovery"]["config_source"]["ads"]
    value["config_discovery"]["config_source"] |= _path()
    return _istio(port, value, value["name"])


def istio_held_resource() -> str:
    value = _patch("istio/envoyfilter-held.yaml", "EXTENSION_CONFIG")
    plugin = value["typed_config"]["config"]
    plugin["vm_config"]["code"] = _code()
    return _resource(value["name"], plugin)


def gateway_buffer_behind(port: int) -> dict:
    policy = manifest("envoy-gateway/buffer-behind.yaml", "EnvoyExtensionPolicy")
    limit = _bytes(manifest("envoy-gateway/buffer-behind.yaml", "BackendTrafficPolicy")["requestBuffer"]["limit"])
    kind = f"{TYPE}extensions.filters.http.buffer.v3.Buffer"
    buffer = {"name": "envoy.filters.http.buffer", "disabled": True, "typed_config": {"@type": kind, "max_request_bytes": limit}}
    per_route = {buffer["name"]: {"@type": f"{kind}PerRoute", "buffer": {"max_request_bytes": limit}}}
    return _envoy_gateway(port, policy, [buffer], per_route)


def gateway_held(port: int) -> dict:
    config = _envoy_gateway(port, manifest("envoy-gateway/held.yaml", "EnvoyExtensionPolicy"), [], {})
    (patch,) = manifest("envoy-gateway/held.yaml", "EnvoyPatchPolicy")["jsonPatches"]
    operation = patch["operation"]
    # The one form of JSONPath that the manifest uses: a filter by its name, and a path below it.
    name, below = re.fullmatch(r'\$\.\.http_filters\[\?\(@\.name=="([^"]+)"\)\]\.(.+)', operation["jsonPath"]).groups()
    (node,) = [one for one in manager(config)["http_filters"] if one["name"] == name]
    for key in below.split("."):
        node = node[key]
    assert operation["op"] == "add"
    node[operation["path"].removeprefix("/")] = operation["value"]
    return config


def _istio(port: int, guard: dict, name: str, *patches: str) -> dict:
    mesh = yaml.safe_load((shipped.DIRECTORY / "istio/mesh-config.yaml").read_text())["meshConfig"]
    config = bootstrap(None, upstream_port=port) | {"node": {"id": "gateway", "cluster": "gateway"}}
    config["stats_config"]["stats_tags"] = [
        {"tag_name": tag, "regex": rf"({tag}=\.=(.*?);\.;)"} for tag in mesh["defaultConfig"]["extraStatTags"]]
    connection = manager(config)
    # As on an Istio gateway, which has no idle timeout and would wait for ever.
    connection |= {"normalize_path": True, "stream_idle_timeout": "0s",
                "xff_num_trusted_hops": mesh["defaultConfig"]["gatewayTopology"]["numTrustedProxies"]}
    _log(connection, mesh["extensionProviders"][0]["envoyFileAccessLog"]["logFormat"]["labels"])
    cors = {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{TYPE}extensions.filters.http.cors.v3.Cors"}}
    # A WasmPlugin without a phase stands before Istio's own last filters; what an EnvoyFilter inserts, right before the router.
    filters = [{"name": name} | guard, cors] if patches else [cors, {"name": name} | guard]
    connection["http_filters"][:0] = filters + [_patch(file, "HTTP_FILTER") for file in patches]
    return config


def _istio_source() -> dict:
    """What Istio writes for a WasmPlugin: the listener waits until the configuration has come."""
    return {"config_source": _path() | {"initial_fetch_timeout": "0s", "resource_api_version": "V3"}, "type_urls": [WASM]}


def _patch(name: str, applies_to: str) -> dict:
    (patch,) = [one["patch"] for one in manifest(name, "EnvoyFilter")["configPatches"] if one["applyTo"] == applies_to]
    assert patch["operation"] == ("ADD" if applies_to == "EXTENSION_CONFIG" else "INSERT_BEFORE")
    return patch["value"]


def _envoy_gateway(port: int, policy: dict, others: list[dict], per_route: dict) -> dict:
    name = "envoy.filters.http.wasm/envoyextensionpolicy/webhooks/webhook-guard/wasm/0"
    (wasm,) = policy["wasm"]
    proxy = manifest("envoy-gateway/gateway.yaml", "EnvoyProxy")
    client = manifest("envoy-gateway/gateway.yaml", "ClientTrafficPolicy")
    route = {"typed_per_filter_config": per_route | {name: {"@type": f"{TYPE}config.route.v3.FilterConfig", "config": {}}}}
    config = bootstrap(None, upstream_port=port, route=route) | yaml.safe_load(proxy["bootstrap"]["value"])
    config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = _bytes(client["connection"]["bufferLimit"])
    connection = manager(config)
    connection["http2_protocol_options"]["initial_stream_window_size"] = _bytes(client["http2"]["initialStreamWindowSize"])
    connection |= {"normalize_path": True, "merge_slashes": True, "request_timeout": client["timeout"]["http"]["requestReceivedTimeout"],
                "path_with_escaped_slashes_action": {"RejectRequest": "REJECT_REQUEST"}[client["path"]["escapedSlashesAction"]]}
    _log(connection, proxy["telemetry"]["accessLog"]["settings"][0]["format"]["json"])
    # No failure policy: that is closed. The VM is the policy's own.
    plugin = _plugin(wasm["name"], wasm["rootID"], wasm["config"], wasm["env"]["hostKeys"])
    plugin["vm_config"]["vm_id"] = name
    guard = {"name": name, "disabled": True, "typed_config": {"@type": WASM, "config": plugin}}
    assert proxy["filterOrder"] == [{"name": "envoy.filters.http.buffer", "after": "envoy.filters.http.wasm"}]
    connection["http_filters"][:0] = [guard, *others]
    return config


def _plugin(name: str, root_id: str, config: dict, env: list[str]) -> dict:
    return {
        "name": name, "root_id": root_id,
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(config)},
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": _code(), "environment_variables": {"host_env_keys": env}},
    }


def _resource(name: str, plugin: dict) -> str:
    typed = {"@type": WASM, "config": plugin}
    return json.dumps({"resources": [{"@type": f"{TYPE}config.core.v3.TypedExtensionConfig", "name": name, "typed_config": typed}]})


def _log(connection: dict, fields: dict) -> None:
    """The manifest's own format, and the field by which a test finds its record."""
    (log,) = connection["access_log"]
    log["typed_config"]["log_format"]["json_format"] = fields | {"test_id": "%REQ(X-TEST-ID)%"}


def manager(config: dict) -> dict:
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def _path() -> dict:
    return {"path_config_source": {"path": f"./{ECDS}"}}


def _code() -> dict:
    return {"local": {"filename": str(find_module())}}


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi")) << 20
