"""`make bench`: what a check adds to a request, in CPU time, beside the other ways to do it in Envoy.

Responsible for the measurement and the tables. One worker each; the contenders take turns in every round, so that what
else the machine does falls on all of them; the figures are medians of what a contender adds to plain Envoy in the same
round. A contender is timed only after it has let the good request through and kept every byte of the bad one back.
"""

import hashlib
import hmac
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contenders
from harness.envoy import ROOT, Envoy, find_envoy

RIG = ROOT / "target/bench/release/rig"
FILTERS = ROOT / "target/bench/wasm32-wasip1/release/examples"
ROUNDS = int(os.environ.get("ROUNDS", "15"))
CONNECTIONS = 2
# The body, and how many requests a round: about as long a turn for each.
BODIES = {0: 400, 1 << 10: 400, 10 << 10: 300, 32 << 10: 150, 100 << 10: 80, 1 << 20: 12}
RATE, AT_RATE = 500, 1500  # requests a second, and how many


class Rig:
    """One of the programs before or behind the Envoys: a line in, a line out."""

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


def cpu(pids: list[int]) -> int:
    """Nanoseconds that all threads of these processes have run, as the kernel's scheduler counts them."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def request(body: bytes, *, is_good: bool) -> bytes:
    tag = hmac.new(contenders.SECRET.encode(), body, hashlib.sha256).hexdigest()
    if not is_good:
        tag = ("1" if tag[0] == "0" else "0") + tag[1:]
    head = [f"POST {contenders.PATH}?token={contenders.TOKEN} HTTP/1.1", f"host: {contenders.HOST}",
            "content-type: application/json", f"content-length: {len(body)}", f"x-hub-signature-256: sha256={tag}",
            "x-github-delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958", "x-github-event: push", "user-agent: GitHub-Hookshot"]
    return "\r\n".join([*head, "", ""]).encode() + body


def fit(points: dict[int, float]) -> tuple[float, float]:
    """Fixed microseconds, and nanoseconds a byte: the line through the bodies from 1 KiB on, by least squares of the
    relative error, so that the longest body does not decide alone."""
    pairs = [(size, cost) for size, cost in points.items() if size]
    weights = [1 / max(cost, 1) ** 2 for _, cost in pairs]
    total = sum(weights)
    x = sum(w * size for w, (size, _) in zip(weights, pairs)) / total
    y = sum(w * cost for w, (_, cost) in zip(weights, pairs)) / total
    slope = sum(w * (size - x) * (cost - y) for w, (size, cost) in zip(weights, pairs)) / sum(
        w * (size - x) ** 2 for w, (size, _) in zip(weights, pairs))
    return y - slope * x, slope * 1000


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def name_of(size: int) -> str:
    return "none" if not size else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def main() -> int:
    plain_wasm = contenders.wasm(FILTERS / "plain.wasm", contenders.SECRET, name="plain")
    nothing = contenders.wasm(FILTERS / "nothing.wasm", "", name="nothing")
    filters = {"plain Envoy": [], "a filter that does nothing": [nothing], "a plain wasm verifier": [plain_wasm],
               "webhook-guard": contenders.guard(), "Lua": contenders.lua(), "ext_authz": contenders.ext_authz()}
    verifies = [name for name in filters if name not in ("plain Envoy", "a filter that does nothing")]
    with ExitStack() as stack:
        upstream, authz = (stack.enter_context(Rig(*words)) for words in (["upstream"], ["authz", contenders.SECRET]))
        load = stack.enter_context(Rig("load"))
        clusters = {"upstream": int(upstream.line()), "authz": int(authz.line())}
        envoys = {name: stack.enter_context(Envoy(contenders.bootstrap(chain, clusters))) for name, chain in filters.items()}
        pids = {name: [envoy.pid] + [authz.process.pid] * (name == "ext_authz") for name, envoy in envoys.items()}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = {}
        for size in BODIES:
            for is_good in (True, False):
                files[size, is_good] = folder / f"{size}-{is_good}"
                files[size, is_good].write_bytes(request(b"x" * size, is_good=is_good))

        def send(name: str, size: int, is_good: bool, count: int, rate: int = 0) -> tuple[float, list[str]]:
            """CPU microseconds a request, and what the load generator says."""
            before = cpu(pids[name])
            answer = load.ask(f"{envoys[name].port} {files[size, is_good]} {count} {CONNECTIONS} {rate}").split()
            return (cpu(pids[name]) - before) / count / 1000, answer

        for name in filters:
            for size, is_good in files:
                seen = int(upstream.ask().split()[0])
                statuses = send(name, size, is_good, 4)[1][1]
                reached = int(upstream.ask().split()[0]) - seen
                refuses = name in verifies and not is_good
                if (statuses, reached) != (("401:4", 0) if refuses else ("200:4", 4)):
                    print(f"{name}: {name_of(size)}, {'good' if is_good else 'bad'}: {statuses}, {reached} reached the upstream")
                    return 1
        added: dict[tuple[str, int, bool], list[float]] = {}
        totals: dict[tuple[str, int, bool], list[float]] = {}
        for number in range(ROUNDS):
            order = list(filters)
            order = order[number % len(order):] + order[: number % len(order)]
            for (size, is_good) in files:
                cost = {name: send(name, size, is_good, BODIES[size])[0] for name in order}
                for name in filters:
                    totals.setdefault((name, size, is_good), []).append(cost[name])
                    added.setdefault((name, size, is_good), []).append(cost[name] - cost["plain Envoy"])
        median = {key: statistics.median(values) for key, values in added.items()}

        print(f"{platform.machine()}, {os.cpu_count()} cores, {find_envoy().name} with one worker, {ROUNDS} rounds\n")
        sizes = list(BODIES)
        print("Accepted: CPU µs that are added to a request over plain Envoy\n")
        rows = [["plain Envoy itself", *(f"{statistics.median(totals['plain Envoy', s, True]):.0f}" for s in sizes), ""]]
        for name in list(filters)[1:]:
            fixed, slope = fit({size: median[name, size, True] for size in sizes})
            rows.append([name, *(f"{median[name, size, True]:.0f}" for size in sizes), f"{fixed:.0f} µs + {slope:.1f} ns/byte"])
        table(["", *map(name_of, sizes), "model"], rows)
        print("Refused: CPU µs of the whole request\n")
        rows = [[name, *(f"{statistics.median(totals[name, size, False]):.0f}" for size in sizes)] for name in verifies]
        table(["", *map(name_of, sizes)], rows)
        print("What webhook-guard adds, as a part of what another adds\n")
        ratios = []
        for name in list(filters)[1:]:
            if name == "webhook-guard":
                continue
            paired = [statistics.median(ours / theirs for ours, theirs in zip(
                added["webhook-guard", size, True], added[name, size, True]) if theirs > 0) for size in sizes]
            ratios.append([name, *(f"{ratio:.2f}" for ratio in paired)])
        table(["", *map(name_of, sizes)], ratios)
        print(f"1 KiB, accepted: as fast as it goes, and at {RATE} requests a second\n")
        rows = []
        for name, envoy in envoys.items():
            nanoseconds = int(send(name, 1 << 10, True, AT_RATE)[1][0])
            answer = send(name, 1 << 10, True, AT_RATE, RATE)[1]
            rows.append([name, f"{AT_RATE / nanoseconds * 1e9:.0f}", *(f"{int(text) / 1e6:.2f}" for text in answer[2:4]),
                         f"{envoy.resident_kib >> 10}"])
        table(["", "requests/s", "p50 ms", "p99 ms", "memory MiB"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
