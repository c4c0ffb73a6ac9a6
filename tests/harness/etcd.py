"""A real etcd: started on ports of its own, killed and started again with what it had, and looked into by its JSON gateway."""

import base64
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from harness.envoy import ROOT

START_SECONDS, SETTLE_SECONDS = 20.0, 8.0
PREFIX = "webhook-guard/"


def find_etcd() -> Path | None:
    """ETCD=/path, else the one on the PATH, else what .ci/etcd has fetched."""
    if chosen := os.environ.get("ETCD") or shutil.which("etcd"):
        return Path(chosen)
    fetched = ROOT / "target/tools/etcd/usr/bin/etcd"
    return fetched if fetched.exists() else None


def find_etcdctl() -> Path | None:
    """ETCDCTL=/path, else the one on the PATH, else what .ci/etcd has fetched."""
    if chosen := os.environ.get("ETCDCTL") or shutil.which("etcdctl"):
        return Path(chosen)
    fetched = ROOT / "target/tools/etcd/usr/bin/etcdctl"
    return fetched if fetched.exists() else None


needs_etcd = pytest.mark.skipif(find_etcd() is None, reason="no etcd: neither on the PATH nor to be had as a package (.ci/etcd)")


def free_port() -> int:
    """One that nobody gets by chance while it is not listened on: below those that the kernel gives to connections and to port 0."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", port := random.randrange(15_000, 32_000))):
                return port
        except OSError:
            pass


def etcd_cluster(port: int, **more: object) -> dict:
    """An Envoy cluster for an etcd there."""
    protocol = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": "etcd", "type": "STATIC", "connect_timeout": "5s", "typed_extension_protocol_options": protocol,
            "circuit_breakers": {"thresholds": [{"max_requests": 65536, "max_pending_requests": 65536}]},
            "load_assignment": {"cluster_name": "etcd", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}} | more


class Etcd:
    """`arguments` are further arguments of the server, such as a quota. One that asks for certificates (`https`) is not asked
    here."""

    def __init__(self, *arguments: str, scheme: str = "http") -> None:
        self._arguments, self._scheme = arguments, scheme
        self.port, self._peer, self._metrics = free_port(), free_port(), free_port()

    def __enter__(self) -> "Etcd":
        self._dir = tempfile.TemporaryDirectory(prefix="etcd-")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._dir.cleanup()

    def cluster(self, **more: object) -> dict:
        return etcd_cluster(self.port, **more)

    def start(self) -> None:
        client, peer = f"{self._scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peer}"
        metrics = f"http://127.0.0.1:{self._metrics}"
        command = [str(find_etcd()), "--data-dir", f"{self._dir.name}/data", "--listen-client-urls", client, "--advertise-client-urls",
                   client, "--listen-metrics-urls", metrics, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
                   *self._arguments]
        with open(f"{self._dir.name}/log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"etcd did not start:\n{Path(self._dir.name, 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def keep(self) -> None:
        """Has it write what it knows into its database. One of 3.4 that is killed before it has done so does what its log says
        once more, with the leases that are there by now: what was refused for want of one then succeeds, and all revisions
        after it are other ones. Later ones know what they have done (https://github.com/etcd-io/etcd/pull/12855)."""
        self.ask("maintenance/hash")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def suspend(self, *, is_suspended: bool) -> None:
        self._process.send_signal(19 if is_suspended else 18)  # SIGSTOP, SIGCONT

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/health", timeout=1) as reply:
                return json.loads(reply.read())["health"] == "true"
        except OSError:
            return False

    def ask(self, method: str, **fields: object) -> dict:
        """A method of its JSON gateway; texts that end in `_bytes` are sent as such."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v3/{method}", json.dumps(fields).encode())
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.loads(reply.read())

    def entries(self, prefix: str = PREFIX) -> dict[str, str]:
        """The keys that begin so, and their values."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.ask("kv/range", key=_base64(prefix), range_end=_base64(end)).get("kvs", [])
        return {_text(one["key"]): _text(one.get("value", "")) for one in found}

    def settled(self) -> dict[str, str]:
        """The entries, once none of them is pending any more."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while pending := [key for key, value in self.entries().items() if value.startswith("pending")]:
            assert time.monotonic() < deadline, f"still pending: {pending}"
            time.sleep(0.01)
        return self.entries()

    def leases(self) -> list[int]:
        return [int(one["ID"]) for one in self.ask("kv/lease/leases").get("leases", [])]

    def put(self, key: str, value: str) -> None:
        self.ask("kv/put", key=_base64(key), value=_base64(value))

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
