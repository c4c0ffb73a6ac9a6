"""Gateways with address feeds, and what is asked of them.

Responsible for what the files of tests about feeds have in common.
"""

import json
import time

from harness import client
from harness.client import Request
from harness.envoy import bootstrap
from harness.feed_server import HOST, FeedServer
from harness.gateway import Gateway

HERE = "127.0.0.0/8"
TAGS = [{"tag_name": name, "regex": rf"(\b{name}=\.=(.*?);\.;)"} for name in ("feed", "policy", "verdict", "reason")]


def hooks(*networks: str) -> bytes:
    return json.dumps({"web": ["0.0.0.0/0"], "hooks": networks}).encode()


def feed(**more: object) -> dict:
    return {"cluster": "feeds", "authority": HOST, "path": "/meta", "json": ["/hooks/*"], "refresh_seconds": 1} | more


def policy(name: str, source_ip: dict) -> dict:
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"source_ip": source_ip}}


def guard(feeds: dict, *policies: dict) -> dict:
    named = [policy(name, {"allow": [{"feed": name}]}) for name in feeds]
    return {"feeds": feeds, "policies": [policy("good", {"allow": [HERE]}), *named, *policies]}


def to(path: str) -> Request:
    return Request(path.encode(), [], b"{}")


def start(server: FeedServer | None, config: dict, *, concurrency: int = 1, **options: object) -> Gateway:
    def envoy(port: int) -> dict:
        whole = bootstrap(config, upstream_port=port, stats_tags=TAGS, **options)
        whole["static_resources"]["clusters"] += [server.cluster("feeds")] if server else []
        return whole

    return Gateway(envoy, good=lambda: to("/good"), concurrency=concurrency)


def status(gateway: Gateway, path: str) -> int:
    return client.h1_length(gateway.envoy.port, to(path)).status


def reason(gateway: Gateway, path: str) -> str:
    client.h1_length(gateway.envoy.port, sent := to(path))
    return gateway.envoy.record(sent.test_id)["reason"]


def until(holds, seconds: float = 20, what: str = "") -> None:
    """Until it holds; how long that takes is no part of a test."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def errors(gateway: Gateway, name: str) -> float:
    return gateway.envoy.metric("webhook_guard_feed_errors_total", feed=name)


def lines(gateway: Gateway, text: str) -> list[str]:
    return [line for line in gateway.envoy.log_text().splitlines() if text in line and "[error]" in line]


def many(count: int, of: int) -> bytes:
    """So many prefixes of which no two can be merged, and those of here."""
    first = of << 24
    networks = [HERE] + [".".join(str(first + 4 * n >> shift & 255) for shift in (24, 16, 8, 0)) + "/31" for n in range(count)]
    return hooks(*networks)
