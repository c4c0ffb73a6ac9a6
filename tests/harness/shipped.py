"""The Envoy files under envoy/, run as a user would run them.

Responsible for what has to differ on a test machine and for nothing else: ports, addresses, the paths of the module and
of watched files, and the access log's place (with one field more, by which a test finds its record). Whatever else a
file says is what is tested.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from harness.envoy import ROOT, find_module

DIRECTORY = ROOT / "envoy"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def files() -> list[Path]:
    """Every shipped file that holds configuration."""
    return sorted(path for path in DIRECTORY.rglob("*") if path.suffix in {".yaml", ".yml", ".json"})


def load(name: str, upstream_port: int, **ports: int) -> dict:
    """The file of that name under envoy/, set for this machine. Its clusters lead to the one upstream, or to `ports` by name."""
    config = yaml.safe_load((DIRECTORY / name).read_text())
    for address in _find(config["static_resources"]["listeners"], "socket_address"):
        address |= {"address": "127.0.0.1", "port_value": 0}
    for cluster in config["static_resources"]["clusters"]:
        for address in _find(cluster, "socket_address"):
            address |= {"address": "127.0.0.1", "port_value": ports.get(cluster["name"], upstream_port)}
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    _point_to_the_module(config)
    for source in _find(config, "path_config_source"):
        source["path"] = f"./{Path(source['path']).name}"
    for logs in _find(config, "access_log"):
        for log in (log for log in logs if "log_format" in log["typed_config"]):
            log |= {"name": "envoy.access_loggers.file"}
            log["typed_config"] |= {"@type": FILE_LOG, "path": "access.log"}
            log["typed_config"]["log_format"]["json_format"]["test_id"] = "%REQ(X-TEST-ID)%"
    return config


def resource(name: str) -> dict:
    """A file under envoy/ that Envoy watches, set for this machine."""
    found = yaml.safe_load((DIRECTORY / name).read_text())
    _point_to_the_module(found)
    return found


def _point_to_the_module(config: dict) -> None:
    for code in _find(config, "code"):
        code["local"]["filename"] = str(find_module())


def _find(node: object, key: str) -> Iterator:
    """The values of `key`, at any depth."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _find(child, key)
