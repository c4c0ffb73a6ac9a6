"""The Envoy configuration that Istio and Envoy Gateway make of the manifests under envoy/, for one Envoy without a cluster.

Written after their translators' source: istio's model/extensions.go and core/listener_builder.go, envoyproxy/gateway's
xds/translator/wasm.go, dynamicmodule.go and httpfilters.go; what becomes of Envoy's start-up file after istio's
pkg/bootstrap/config.go and envoyproxy/gateway's xds/bootstrap/util.go. Only what matters to the guard is here: the filters
and their order, where their configuration comes from, failure policy, per-route enabling, limits, access log, labels. The
discovery service is a file, and the module, which an agent, a controller or a container would have put there, a local one.
"""

import json
import re

import yaml

from harness import shipped
from harness.envoy import bootstrap, find_module, find_native

TYPE = "type.googleapis.com/envoy."
WASM = f"{TYPE}extensions.filters.http.wasm.v3.Wasm"
NATIVE = f"{TYPE}extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
# Of which Istio's Envoy keeps metrics in any case; it keeps no others but those that the mesh configuration names.
ISTIO_METRICS = ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm", "reporter=", "component", "istio"]
ECDS = "ecds.json"


def manifest(name: str, kind: str) -> dict:
    """The `spec` of the one manifest of that kind in a file."""
    found = [shipped.without_memory(one) for one in yaml.safe_load_all((shipped.DIRECTORY / name).read_text()) if one.get("kind") == kind]
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


def istio_native(port: int) -> dict:
    value = _patch("istio/envoyfilter-native.yaml", "HTTP_FILTER")
    config = _istio(port, value, value["name"])
    more = yaml.safe_load((shipped.DIRECTORY / "istio/native-mesh-config.yaml").read_text())["meshConfig"]["defaultConfig"]
    prefixes = ISTIO_METRICS + more["proxyStatsMatcher"]["inclusionPrefixes"]
    config["stats_config"]["stats_matcher"] = {"inclusion_list": {"patterns": [{"prefix": prefix} for prefix in prefixes]}}
    # Which are texts in the mesh configuration, and truth values in Envoy's.
    values = {name: {"true": True, "false": False}.get(text, text) for name, text in more["runtimeValues"].items()}
    config["layered_runtime"] = {"layers": [{"name": "global config", "static_layer": values}]}
    # Envoy looks for the module where the pod has it; here that is where it was built.
    pod = yaml.safe_load(_config_map("istio/native-gateway.yaml")["deployment"])["spec"]["template"]["spec"]
    (proxy,) = pod["containers"]
    searched = [one["value"] for one in proxy["env"] if one["name"] == "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"]
    assert searched == [_folder_of_the_module(pod["volumes"], pod["initContainers"], proxy)]
    return config


def _config_map(name: str) -> dict:
    (found,) = [one for one in yaml.safe_load_all((shipped.DIRECTORY / name).read_text()) if one["kind"] == "ConfigMap"]
    return found["data"]


def _folder_of_the_module(volumes: list[dict], before: list[dict], proxy: dict) -> str:
    """Where the proxy's container has the module that the container before it has copied into the volume of both."""
    (volume,), (copying,) = volumes, before
    assert volume["emptyDir"] == {}
    (into,), (there,) = copying["volumeMounts"], proxy["volumeMounts"]
    assert into["name"] == there["name"] == volume["name"]
    assert there["readOnly"] is True
    assert copying["command"] == ["cp", f"/{find_native().name}", f"{into['mountPath']}/"]
    return there["mountPath"]


def gateway_native(port: int) -> dict:
    patch = manifest("envoy-gateway/native-proxy.yaml", "EnvoyProxy")
    (entry,) = patch["dynamicModules"]
    deployment = patch["provider"]["kubernetes"]["envoyDeployment"]
    folder = _folder_of_the_module(deployment["pod"]["volumes"], deployment["initContainers"], deployment["container"])
    assert entry["source"] == {"type": "Local", "local": {"path": f"{folder}/{find_native().name}"}}
    (module,) = manifest("envoy-gateway/native.yaml", "EnvoyExtensionPolicy")["dynamicModule"]
    assert module["name"] == entry["name"], "which is not in the EnvoyProxy's list"
    return _envoy_gateway(port, "envoy.filters.http.dynamic_modules/envoyextensionpolicy/webhooks/webhook-guard/dynamic-module/0", {
        "@type": NATIVE,
        "dynamic_module_config": {"do_not_close": entry["doNotClose"], "module": {"local": {"filename": str(find_native())}}},
        "filter_name": module["filterName"],
        "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(module["config"])},
    }, proxy=_merged(manifest("envoy-gateway/gateway.yaml", "EnvoyProxy"), patch))


def _merged(node: dict, patch: dict) -> dict:
    """As `kubectl patch --type merge` does it: lists and texts are replaced."""
    return node | {key: _merged(node[key], value) if isinstance(value, dict) and isinstance(node.get(key), dict) else value
                   for key, value in patch.items()}


def gateway_buffer_behind(port: int) -> dict:
    policy = manifest("envoy-gateway/buffer-behind.yaml", "EnvoyExtensionPolicy")
    limit = _bytes(manifest("envoy-gateway/buffer-behind.yaml", "BackendTrafficPolicy")["requestBuffer"]["limit"])
    kind = f"{TYPE}extensions.filters.http.buffer.v3.Buffer"
    buffer = {"name": "envoy.filters.http.buffer", "disabled": True, "typed_config": {"@type": kind, "max_request_bytes": limit}}
    per_route = {buffer["name"]: {"@type": f"{kind}PerRoute", "buffer": {"max_request_bytes": limit}}}
    return _envoy_gateway(port, *_wasm_of(policy), [buffer], per_route)


def gateway_held(port: int) -> dict:
    config = _envoy_gateway(port, *_wasm_of(manifest("envoy-gateway/held.yaml", "EnvoyExtensionPolicy")))
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


def _wasm_of(policy: dict) -> tuple[str, dict]:
    """The name of the policy's filter, and the filter. No failure policy: that is closed. The VM is the policy's own."""
    name = "envoy.filters.http.wasm/envoyextensionpolicy/webhooks/webhook-guard/wasm/0"
    (wasm,) = policy["wasm"]
    plugin = _plugin(wasm["name"], wasm["rootID"], wasm["config"], wasm["env"]["hostKeys"])
    plugin["vm_config"]["vm_id"] = name
    return name, {"@type": WASM, "config": plugin}


def _envoy_gateway(port: int, name: str, typed: dict, others: list[dict] | None = None, per_route: dict | None = None, *,
                   proxy: dict | None = None) -> dict:
    """With the filter of that name, off but on the one route, and `others` behind it."""
    proxy = proxy or manifest("envoy-gateway/gateway.yaml", "EnvoyProxy")
    client = manifest("envoy-gateway/gateway.yaml", "ClientTrafficPolicy")
    route = {"typed_per_filter_config": (per_route or {}) | {name: {"@type": f"{TYPE}config.route.v3.FilterConfig", "config": {}}}}
    config = bootstrap(None, upstream_port=port, route=route) | yaml.safe_load(proxy["bootstrap"]["value"])
    config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = _bytes(client["connection"]["bufferLimit"])
    connection = manager(config)
    connection["http2_protocol_options"]["initial_stream_window_size"] = _bytes(client["http2"]["initialStreamWindowSize"])
    connection |= {"normalize_path": True, "merge_slashes": True, "request_timeout": client["timeout"]["http"]["requestReceivedTimeout"],
                "path_with_escaped_slashes_action": {"RejectRequest": "REJECT_REQUEST"}[client["path"]["escapedSlashesAction"]]}
    _log(connection, proxy["telemetry"]["accessLog"]["settings"][0]["format"]["json"])
    assert proxy["filterOrder"] == [{"name": "envoy.filters.http.buffer", "after": "envoy.filters.http.wasm"}]
    connection["http_filters"][:0] = [{"name": name, "disabled": True, "typed_config": typed}, *(others or [])]
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
