"""The Envoy files under envoy/, run as a user would run them.

Responsible for what has to differ on a test machine and for nothing else: ports, addresses, the paths of the module, of
certificates and of watched files, and the access log's place (with one field more, by which a test finds its record). Whatever else a
file says is what is tested. With GUARD=native the dynamic module stands where a file has the Wasm module; a file of
envoy/native/ is what it is under either.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from harness.envoy import FILTER_TYPE, GUARD, PLAIN_METRICS, ROOT, find_module, native

DIRECTORY = ROOT / "envoy"
WASM_TYPE = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def files() -> list[Path]:
    """Every shipped file that holds configuration."""
    return sorted(path for path in DIRECTORY.rglob("*") if path.suffix in {".yaml", ".yml", ".json"})


def load(name: str, upstream_port: int, *, once: bool = False, **ports: int) -> dict:
    """The file of that name under envoy/, set for this machine. Its clusters lead to the one upstream, or to `ports` by name.
    Most tests send one delivery over and over, so that each passes `once` only where a test asks for it."""
    config = yaml.safe_load((DIRECTORY / name).read_text())
    if not once:
        config = without_memory(config)
    for cluster in config["static_resources"]["clusters"]:
        for address in _find(cluster, "socket_address"):
            address |= {"address": "127.0.0.1", "port_value": ports.get(cluster["name"], upstream_port)}
    for listener in config["static_resources"].get("listeners", []):
        _localise(listener)
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    if _point_to_the_module(config):
        config["layered_runtime"] = PLAIN_METRICS
    for source in (one for key in ("certificate_chain", "private_key", "trusted_ca") for one in _find(config, key)):
        source["filename"] = f"./{Path(source['filename']).name}"
    for source in _find(config, "path_config_source"):
        source["path"] = f"./{Path(source['path']).name}"
    return config


def resource(name: str) -> dict:
    """A file under envoy/ that Envoy watches, set for this machine."""
    found = without_memory(yaml.safe_load((DIRECTORY / name).read_text()))
    _point_to_the_module(found)
    for listener in (one for one in found["resources"] if "filter_chains" in one):
        _localise(listener)
    return found


def without_memory(node: object) -> object:
    """The same without `duplicates`, also in configurations that are text."""
    if isinstance(node, dict):
        return {key: without_memory(value) for key, value in node.items() if key != "duplicates"}
    if isinstance(node, list):
        return [without_memory(entry) for entry in node]
    if isinstance(node, str) and '"duplicates"' in node:
        return json.dumps(without_memory(json.loads(node)))
    return node


def configuration(guard: dict) -> dict:
    """The guard's configuration in its filter, or in a route: a StringValue or a Struct."""
    return guard["filter_config"] if guard["@type"] != WASM_TYPE else guard["config"]["configuration"]


def _localise(listener: dict) -> None:
    for address in _find(listener, "socket_address"):
        address |= {"address": "127.0.0.1", "port_value": 0}
    for logs in _find(listener, "access_log"):
        for log in (log for log in logs if "log_format" in log["typed_config"]):
            log |= {"name": "envoy.access_loggers.file"}
            log["typed_config"] |= {"@type": FILE_LOG, "path": "access.log"}
            log["typed_config"]["log_format"]["json_format"]["test_id"] = "%REQ(X-TEST-ID)%"


def _point_to_the_module(config: dict) -> bool:
    """Whether the dynamic module has come in the place of another one."""
    for code in _find(config, "code"):
        code["local"]["filename"] = str(find_module())
    wasms = [one for one in _find(config, "typed_config") if one["@type"] == WASM_TYPE]
    urls = [types for types in _find(config, "type_urls") if WASM_TYPE in types]
    if GUARD != "native":
        return False
    for types in urls:
        types[:] = [FILTER_TYPE if one == WASM_TYPE else one for one in types]
    for wasm in wasms:
        plugin = wasm["config"]
        wasm.clear()
        wasm |= native(_listing(plugin["configuration"], plugin["vm_config"]["environment_variables"]["host_env_keys"]))
    return bool(wasms or urls)


def _listing(configuration: dict, variables: list[str]) -> dict:
    """The configuration, JSON text or a Struct, with the variables that it may read."""
    value = configuration["value"]
    if isinstance(value, str):
        return configuration | {"value": json.dumps({"environment": variables, **json.loads(value)})}
    return configuration | {"value": {"environment": variables, **value}}


def _find(node: object, key: str) -> Iterator:
    """The values of `key`, at any depth."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _find(child, key)
