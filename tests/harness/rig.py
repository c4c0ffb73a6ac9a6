"""The compiled programs that stand before and behind an Envoy where a million requests have to be sent and answered.

Responsible for talking to `tests/bench`'s rig, a line in and a line out. It knows nothing of what is sent.
"""

import subprocess
from pathlib import Path

from harness.envoy import ROOT

RIG = ROOT / "target/rig/rig"


class Rig:
    """One of the programs, as a context manager."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([RIG, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(10)

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def ask(self, line: str = "") -> str:
        print(line, file=self.process.stdin, flush=True)
        return self.line()


class Load(Rig):
    """The load generator."""

    def __init__(self) -> None:
        super().__init__("load")

    def send(self, port: int, request: Path, count: int, *, connections: int = 2, rate: int = 0) -> tuple[str, list[int]]:
        """Sends a request (the bytes of a file) so many times, at `rate` a second or as fast as it is answered. Returns
        the statuses, as `200:4`, and the nanoseconds: of all, of the median request, and of the 99th percentile."""
        elapsed, statuses, *latencies = self.ask(f"{port} {request} {count} {connections} {rate}").split()
        return statuses, [int(text) for text in (elapsed, *latencies)]
