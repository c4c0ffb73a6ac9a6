"""The memory of the VM: a body of any size and a million requests leave it as it was after the first hundred.

Read from the process' own map of its memory, of a real Envoy under a compiled load generator.
"""

import hashlib
import hmac
from pathlib import Path

import pytest
from harness.envoy import Envoy, bootstrap
from harness.rig import Load, Rig

pytestmark = pytest.mark.only("wasm", "a dynamic module has no memory of its own that could be measured")
SECRET = "the-secret-of-the-memory-test"
MOST = 12 << 20


def configuration(addresses: int = 0) -> dict:
    """A policy with a token and a signature, and so many addresses of which no two can be merged."""
    allow = [f"20.{n >> 13 & 255}.{n >> 5 & 255}.{n << 3 & 255}/30" for n in range(addresses)]
    return {"policies": [{
        "name": "github", "match": {"path": {"prefix": "/hooks"}}, "max_body_bytes": MOST,
        "require": {
            "source_ip": {"allow": ["127.0.0.1", *allow]},
            "token": {"query": "token", "secrets": [{"value": "the-token-of-the-memory-test", "id": "token"}]},
            "signature": {"provider": "github", "secrets": [{"value": SECRET, "id": "2026"}]}},
    }]}


def request(path: str, body: bytes, *, secret: str = SECRET) -> bytes:
    tag = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    head = [f"POST {path} HTTP/1.1", "host: hooks.example.com", f"content-length: {len(body)}",
            f"x-hub-signature-256: sha256={tag}", "x-github-delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958"]
    return "\r\n".join([*head, "", ""]).encode() + body


def start(upstream_port: int, addresses: int = 0) -> Envoy:
    config = bootstrap(configuration(addresses), upstream_port=upstream_port, hcm={"access_log": []})
    config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = MOST
    return Envoy(config)


@pytest.fixture(scope="module")
def upstream():
    with Rig("upstream") as upstream:
        yield int(upstream.line())


def test_the_reading_sees_memory_grow(upstream):
    with start(upstream) as few, start(upstream, addresses=100_000) as many:
        # The VM of the main thread and that of the worker; a third one was never configured.
        assert len(few.linear_memories) == len(many.linear_memories) == 3
        assert all(size % 65_536 == 0 for size in few.linear_memories)
        assert many.linear_memories[1] - few.linear_memories[1] > 100_000 * 8


def test_memory_is_after_a_million_requests_what_it_was_after_a_hundred(upstream, tmp_path):
    small = b"x" * 1024
    target = "/hooks?token=the-token-of-the-memory-test"
    requests = {
        "accepted": request(target, small),
        "10 MiB": request(target, b"x" * (10 << 20)),
        # Without a body: Envoy ends the connection of a request that it answers before its body has come.
        "refused by its path": request("/elsewhere", b""),
        "refused by its token": request("/hooks?token=another", b""),
        "refused by its signature": request(target, small, secret="another"),
    }
    files: dict[str, Path] = {}
    for name, content in requests.items():
        files[name] = tmp_path / name.replace(" ", "-")
        files[name].write_bytes(content)
    with start(upstream) as envoy, Load() as load:
        envoy.admin("/logging?wasm=error", post=True)  # a million lines about refusals are not what this is about
        for name in ("accepted", "refused by its path", "refused by its token", "refused by its signature"):
            load.send(envoy.port, files[name], 25)
        at_first = envoy.linear_memories
        for name, count, status in [("10 MiB", 3, 200), ("accepted", 100_000, 200), ("refused by its path", 400_000, 404),
                                    ("refused by its token", 300_000, 401), ("refused by its signature", 300_000, 401)]:
            statuses, _ = load.send(envoy.port, files[name], count)
            assert statuses == f"{status}:{count}", name
            assert envoy.linear_memories == at_first, f"after {count} requests: {name}"
