"""`make bench-etcd`: what a memory in etcd adds to a delivery, and what a delivery costs etcd, beside a memory in the gateway.

Responsible for that one comparison, a table of Markdown. Every delivery is a new one, and has to pass. Envoy, etcd, upstream and sender
share the machine; the memories take turns in every round, and the figures are medians over the rounds.
"""

import os
import socket
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import signer
from harness.envoy import GUARD, Envoy, bootstrap
from harness.etcd import Etcd
from harness.rig import Rig

SECRET = "a-secret-that-is-32-characters-x"
ROUNDS, DELIVERIES = int(os.environ.get("ROUNDS", "5")), 2000
MEMORIES = {"none": None, "local": {"local": {}}, "etcd": {"etcd": {"cluster": "etcd", "timeout_ms": 5000}}}


def config(memory: dict | None) -> dict:
    policy = {"name": "github", "match": {"path": "/github"}, "require": {"signature": {"provider": "github", "secrets": [{"value": SECRET}]}}}
    return {"policies": [policy | ({"duplicates": {}} if memory else {})]} | ({"memory": memory} if memory else {})


def requests(start: int, count: int) -> list[bytes]:
    made = []
    for number in range(start, start + count):
        body = b'{"number": %d}' % number
        head = [b"POST /github HTTP/1.1", b"host: hooks.example.com", b"content-length: %d" % len(body)]
        head += [name + b": " + value for name, value in signer.github(SECRET, body)]
        made.append(b"\r\n".join([*head, b"", b""]) + body)
    return made


def send(port: int, deliveries: list[bytes], latencies: list[int]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for delivery in deliveries:
            since = time.perf_counter_ns()
            connection.sendall(delivery)
            answer = connection.recv(65536)
            latencies.append(time.perf_counter_ns() - since)
            assert answer.startswith(b"HTTP/1.1 200"), answer


def percentile(latencies: list[int], share: float) -> float:
    return sorted(latencies)[int(share * (len(latencies) - 1))] / 1e6


def main() -> None:
    figures: dict[tuple[str, int], list[tuple[float, float]]] = {}
    number = 1
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd())
        upstream = int(stack.enter_context(Rig("upstream")).line())
        envoys = {name: stack.enter_context(Envoy(bootstrap(config(memory), upstream_port=upstream, clusters=[etcd.cluster()]), concurrency=1))
                  for name, memory in MEMORIES.items()}
        methods = {method: f'grpc_server_handled_total{{grpc_code="OK",grpc_method="{method}"' for method in ("Txn", "LeaseGrant")}
        before, since = {method: etcd.metric(name) for method, name in methods.items()}, time.monotonic()
        for round_ in range(ROUNDS + 1):  # the first warms up
            for name, envoy in envoys.items():
                for connections in (1, 16):
                    latencies: list[int] = []
                    each = DELIVERIES // connections
                    threads = [threading.Thread(target=send, args=(envoy.port, requests(number + thread * each, each), latencies)) for thread in range(connections)]
                    number += each * connections
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                    if round_:
                        figures.setdefault((name, connections), []).append((percentile(latencies, 0.5), percentile(latencies, 0.99)))
        etcd.settled()
        minutes = (time.monotonic() - since) / 60
        deliveries = len(etcd.entries())
        asked = {method: etcd.metric(name) - before[method] for method, name in methods.items()}
    print(f"The {'Wasm' if GUARD == 'wasm' else 'dynamic'} module, {ROUNDS} rounds of {DELIVERIES} deliveries, one worker:\n")
    print("| memory | connections | p50 ms | p99 ms |\n| --- | --- | --- | --- |")
    for (name, connections), pairs in figures.items():
        p50, p99 = (statistics.median(column) for column in zip(*pairs))
        print(f"| {name} | {connections} | {p50:.2f} | {p99:.2f} |")
    print(f"\netcd: {deliveries} deliveries, {asked['Txn'] / deliveries:.2f} transactions each, {asked['LeaseGrant']:.0f} leases in {minutes:.1f} minutes.")


if __name__ == "__main__":
    main()
