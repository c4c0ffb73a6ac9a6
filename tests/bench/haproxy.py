"""HAProxy as a contender of `make bench`: its own `hmac()`, or nothing, before the same upstream, in one thread.

Responsible for a HAProxy whose buffers take the whole body, which it hashes in one piece
(https://docs.haproxy.org/2.6/configuration.html: `option http-buffer-request`, `hmac`, `secure_memcmp`).
"""

import base64
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

FRONTEND = """
global
  nbthread 1
  tune.bufsize {buffer}
defaults
  mode http
  http-reuse always
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend webhooks
  bind 127.0.0.1:{port}
{rules}
  default_backend upstream
backend upstream
  server upstream 127.0.0.1:{upstream}
"""
RULES = """
  option http-buffer-request
  http-request set-var(txn.tag) req.body,hmac(sha256,{key}),hex,lower
  http-request set-var(txn.wanted) str(sha256=),concat(,txn.tag,)
  http-request deny deny_status 401 unless {{ req.hdr(x-hub-signature-256),secure_memcmp(txn.wanted) -m bool }}
"""


def is_here() -> bool:
    return shutil.which("haproxy") is not None


class HaProxy:
    """A running HAProxy, as a context manager. Without a secret it forwards whatever comes."""

    def __init__(self, upstream_port: int, *, secret: str | None, most: int) -> None:
        self._upstream, self._secret, self._most = upstream_port, secret, most

    def __enter__(self) -> "HaProxy":
        self._folder = tempfile.TemporaryDirectory()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        rules = RULES.format(key=base64.b64encode(self._secret.encode()).decode()) if self._secret else ""
        file = Path(self._folder.name) / "haproxy.cfg"
        file.write_text(FRONTEND.format(port=self.port, upstream=self._upstream, rules=rules, buffer=self._most))
        self._process = subprocess.Popen(["haproxy", "-db", "-q", "-f", file])
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
