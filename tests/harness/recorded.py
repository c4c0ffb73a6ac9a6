"""A shipped Envoy file with what docs/messages.md adds to it: a record in its policies, the operator beside the senders of a
policy, and OpenTelemetry records sent to a receiver on this machine.

It knows the form of the guard's configuration, and nothing of what a message says.
"""

import json
import socket

import yaml

from harness import shipped

KEY = {"OPERATOR_KEY": "operator-key-0123456789abcdef0123456789"}
OPERATOR = {"signature": {"provider": "operator", "secrets": [{"env": "OPERATOR_KEY"}]}}
RECORD = {"body": "all", "headers": ["content-type", "x-github-event", "x-hub-signature-256", "user-agent"]}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def load(name: str, upstream: int, otlp: int, *, duplicates: dict | None = None) -> dict:
    """The file of that name under envoy/, with `duplicates` in every policy that an operator's signature can stand beside."""
    config = shipped.load(name, upstream)
    (guard,) = [one for key in ("configuration", "filter_config") for one in shipped.find(config, key) if isinstance(one.get("value"), str)]
    value = json.loads(guard["value"])
    if "environment" in value:
        value["environment"].append("OPERATOR_KEY")
    for policy in value["policies"]:
        policy["record"] = RECORD
        sender = policy["require"]
        if list(sender) == ["any_of"]:
            sender["any_of"].append(OPERATOR)
        else:
            policy["require"] = {"any_of": [sender, OPERATOR]}
        if duplicates is not None and "token" not in json.dumps(sender):
            policy["duplicates"] = duplicates
    guard["value"] = json.dumps(value)
    for machine in shipped.find(config, "vm_config"):
        machine["environment_variables"]["host_env_keys"].append("OPERATOR_KEY")
    compose = yaml.safe_load((shipped.DIRECTORY / "compose/envoy.yaml").read_text())
    (collector,) = [one for one in compose["static_resources"]["clusters"] if one["name"] == "collector"]
    for address in shipped.find(collector, "socket_address"):
        address |= {"address": "127.0.0.1", "port_value": otlp}
    config["static_resources"]["clusters"].append(collector)
    (logs,) = shipped.find(config["static_resources"]["listeners"], "access_log")
    logs.append(yaml.safe_load((shipped.DIRECTORY / "access-log/otlp.yaml").read_text()))
    return config
