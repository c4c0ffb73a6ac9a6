"""How much is logged is changed while the gateway runs: the lines of the guard's own logger alone, and the share of accepted
webhooks in the access log. docs/operating.md says how; its access-log filter is the one that is tested."""

import re

import pytest
import yaml

from harness import client, signer
from harness.client import Request
from harness.envoy import GUARD, LOGGER, ROOT, bootstrap
from harness.gateway import Gateway

KEY = "the-key-of-the-hook-0123456789"
CONFIG = {"policies": [{"name": "github", "match": {"path": "/hook"}, "require": {"signature": {"provider": "github", "secrets": [{"env": "KEY"}]}}}]}


def good() -> Request:
    return Request(b"/hook", signer.github(KEY, b"{}"), b"{}")


def bad() -> Request:
    return Request(b"/hook", signer.github("another-key", b"{}"), b"{}")


def shown() -> dict:
    """The filter and the runtime of docs/operating.md."""
    page = (ROOT / "docs/operating.md").read_text().partition("## How much is logged")[2]
    return yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])


def sampled(upstream_port: int) -> dict:
    config = bootstrap(CONFIG, upstream_port=upstream_port, env={"KEY": KEY})
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"][0]["filter"] = shown()["filter"]
    layers = config.get("layered_runtime", {"layers": []})["layers"] + shown()["layered_runtime"]["layers"]
    return config | {"layered_runtime": {"layers": layers}}


@pytest.fixture(scope="module")
def gateway():
    with Gateway(sampled, good=good, env={"KEY": KEY} if GUARD == "native" else {}) as gateway:
        yield gateway


def levels(gateway: Gateway) -> dict[str, str]:
    return dict(re.findall(r"^\s+(\S+): (\S+)$", gateway.envoy.admin("/logging", post=True), re.MULTILINE))


def test_the_level_of_the_guards_logger_alone_is_changed(gateway):
    before = levels(gateway)
    gateway.envoy.admin(f"/logging?{LOGGER}=debug", post=True)
    try:
        assert levels(gateway) == before | {LOGGER: "debug"}
        refused = gateway.refuses(bad(), "signature_mismatch")
        line = gateway.envoy.wait_for_log(f"check signature:fail policy=github request_id={refused.record['request_id']}")
        assert f"[{LOGGER}]" in line
    finally:
        gateway.envoy.admin(f"/logging?{LOGGER}={before[LOGGER]}", post=True)
    refused = gateway.refuses(bad(), "signature_mismatch")
    gateway.envoy.wait_for_log(f"request_id={refused.record['request_id']}")
    assert f"check signature:fail policy=github request_id={refused.record['request_id']}" not in gateway.envoy.log_text()


def logged(gateway: Gateway, requests: list[Request]) -> int:
    """How many of them are in the access log, once a refused one behind them is."""
    for request in requests:
        assert client.h1_length(gateway.envoy.port, request).status == 200
    last = bad()
    client.h1_length(gateway.envoy.port, last)
    gateway.envoy.record(last.test_id)
    ids = {request.test_id for request in requests}
    return sum(record["test_id"] in ids for record in gateway.envoy.access_log())


def test_the_share_of_accepted_webhooks_in_the_access_log_is_changed(gateway):
    assert logged(gateway, [good() for _ in range(20)]) == 20
    gateway.envoy.admin("/runtime_modify?webhook_guard.log_accepted=0", post=True)
    try:
        assert logged(gateway, [good() for _ in range(20)]) == 0
        gateway.refuses(bad(), "signature_mismatch")
    finally:
        gateway.envoy.admin("/runtime_modify?webhook_guard.log_accepted=100", post=True)
    assert logged(gateway, [good() for _ in range(20)]) == 20
