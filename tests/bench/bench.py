"""`make bench`: what a check adds to a request, in CPU time, beside the other ways to do it in Envoy.

Responsible for the comparison. One worker each; the contenders take turns in every round, so that what else the machine
does falls on all of them; the figures are medians of what a contender adds to plain Envoy (HAProxy's own hmac() to plain
HAProxy, where there is a `haproxy` on the PATH) in the same round. OTHER=FILE is a Wasm module of another build, to be held
against this one. A contender is timed only after it has let the good request through and kept every byte of the bad one back, and after so
many requests that V8 has compiled what they run, as in a gateway that is up.
"""

import hashlib
import hmac
import os
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contenders
import haproxy
import inside
from harness.envoy import ROOT, Envoy, find_envoy
from harness.rig import Load, Rig

FILTERS = ROOT / "target/bench/wasm32-wasip1/release/examples"
OURS, NATIVE = "webhook-guard", "webhook-guard, native"
HAPROXY = ["plain HAProxy", "HAProxy's hmac()"]
OTHER = os.environ.get("OTHER")
ROUNDS = int(os.environ.get("ROUNDS", "30"))
WARM_UP = 60_000
# The body, and how many requests a turn: about as long a turn for each.
BODIES = {0: 400, 1 << 10: 400, 10 << 10: 300, 32 << 10: 150, 100 << 10: 80, 1 << 20: 12}
RATE, AT_RATE = 500, 1500  # requests a second, and how many


def cpu(pids: list[int]) -> int:
    """Nanoseconds that all threads of these processes have run, as the kernel's scheduler counts them."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def request(body: bytes, *, is_good: bool, token: str = contenders.TOKEN) -> bytes:
    tag = hmac.new(contenders.SECRET.encode(), body, hashlib.sha256).hexdigest()
    if not is_good:
        tag = ("1" if tag[0] == "0" else "0") + tag[1:]
    head = [f"POST {contenders.PATH}?token={token} HTTP/1.1", f"host: {contenders.HOST}",
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


def name_of(size: int) -> str:
    return "none" if not size else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def compare(folder: Path) -> str | None:
    """Prints the comparison; returns what a contender did wrong, if one did."""
    plain_wasm = contenders.wasm(FILTERS / "plain.wasm", contenders.SECRET, name="plain")
    nothing = contenders.wasm(FILTERS / "nothing.wasm", "", name="nothing")
    filters = {"plain Envoy": [], "a filter that does nothing": [nothing], "a plain wasm verifier": [plain_wasm],
               OURS: contenders.guard(), NATIVE: contenders.native_guard(), "Lua": contenders.lua(),
               "ext_authz": contenders.ext_authz()}
    if OTHER:
        filters["webhook-guard, the other build"] = contenders.guard(module=Path(OTHER))
    names = [*filters, *HAPROXY] if haproxy.is_here() else list(filters)
    base = {name: HAPROXY[0] if name in HAPROXY else "plain Envoy" for name in names}
    verifies = [name for name in names if name not in (*base.values(), "a filter that does nothing")]
    sizes, others = list(BODIES), [name for name in names if name not in (*base.values(), OURS)]
    files = {(size, is_good): folder / f"{size}-{is_good}" for size in BODIES for is_good in (True, False)}
    for (size, is_good), file in files.items():
        file.write_bytes(request(b"x" * size, is_good=is_good))
    by_headers = folder / "by-headers"
    by_headers.write_bytes(request(b"", is_good=True, token="another"))
    with ExitStack() as stack:
        upstream, authz = (stack.enter_context(Rig(*words)) for words in (["upstream"], ["authz", contenders.SECRET]))
        load = stack.enter_context(Load())
        clusters = {"upstream": int(upstream.line()), "authz": int(authz.line())}
        envoys = {name: stack.enter_context(Envoy(contenders.bootstrap(chain, clusters))) for name, chain in filters.items()}
        for name in names[len(filters):]:
            secret = None if name in base.values() else contenders.SECRET
            envoys[name] = stack.enter_context(haproxy.HaProxy(clusters["upstream"], secret=secret, most=contenders.MOST))
        pids = {name: [envoy.pid] + [authz.process.pid] * (name == "ext_authz") for name, envoy in envoys.items()}

        def cost(name: str, file: Path, count: int) -> float:
            """CPU microseconds a request."""
            before = cpu(pids[name])
            load.send(envoys[name].port, file, count)
            return (cpu(pids[name]) - before) / count / 1000

        for name, envoy in envoys.items():
            for (size, is_good), file in files.items():
                seen = int(upstream.ask().split()[0])
                statuses, _ = load.send(envoy.port, file, 4)
                reached = int(upstream.ask().split()[0]) - seen
                refuses = name in verifies and not is_good
                if (statuses, reached) != (("401:4", 0) if refuses else ("200:4", 4)):
                    return f"{name}: {name_of(size)}, {'good' if is_good else 'bad'}: {statuses}, {reached} reached the upstream"
            for size in (0, 1 << 10):
                load.send(envoy.port, files[size, True], WARM_UP // 2)

        added: dict[tuple[str, int, bool], list[float]] = {}
        totals: dict[tuple[str, int, bool], list[float]] = {}
        refused_by_headers: dict[str, list[float]] = {OURS: [], NATIVE: []}
        for number in range(ROUNDS):
            turn = number % len(names)
            order = [*names[turn:], *names[:turn]]
            for (size, is_good) in files:
                costs = {name: cost(name, files[size, is_good], BODIES[size]) for name in order}
                for name in names:
                    totals.setdefault((name, size, is_good), []).append(costs[name])
                    added.setdefault((name, size, is_good), []).append(costs[name] - costs[base[name]])
            for name in (OURS, NATIVE):
                refused_by_headers[name].append(cost(name, by_headers, BODIES[0]))
        median = {key: statistics.median(values) for key, values in added.items()}
        total = {key: statistics.median(values) for key, values in totals.items()}

        print(f"{platform.machine()}, {os.cpu_count()} cores, {find_envoy().name} with one worker, {ROUNDS} rounds\n")
        print("Accepted: CPU µs that are added to a request over plain Envoy\n")
        rows = [[f"{name} itself", *(f"{total[name, size, True]:.0f}" for size in sizes), ""] for name in dict.fromkeys(base.values())]
        for name in (*others[:2], OURS, *others[2:]):
            fixed, slope = fit({size: median[name, size, True] for size in sizes})
            model = "" if name == others[0] else f"{fixed:.0f} µs + {slope:.1f} ns/byte"
            rows.append([name, *(f"{median[name, size, True]:.1f}" for size in sizes), model])
        inside.table(["", *map(name_of, sizes), "model"], rows)
        print("Refused: CPU µs of the whole request\n")
        rows = [[name, *(f"{total[name, size, False]:.0f}" for size in sizes)] for name in verifies]
        rows += [[f"{name}, by the token", f"{statistics.median(costs):.0f}", *[""] * (len(sizes) - 1)]
                 for name, costs in refused_by_headers.items()]
        inside.table(["", *map(name_of, sizes)], rows)
        for one in (OURS, NATIVE):
            print(f"What {one} adds to an accepted request, as a part of what another adds\n")
            rows = [[name, *(f"{median[one, size, True] / max(median[name, size, True], 0.1):.2f}" for size in sizes)]
                    for name in (*others, OURS) if name != one]
            inside.table(["", *map(name_of, sizes)], rows)
        print(f"1 KiB, accepted: as fast as it goes, and at {RATE} requests a second\n")
        rows = []
        for name, envoy in envoys.items():
            _, (nanoseconds, *_) = load.send(envoy.port, files[1 << 10, True], AT_RATE)
            _, (_, *latencies) = load.send(envoy.port, files[1 << 10, True], AT_RATE, rate=RATE)
            rows.append([name, f"{AT_RATE / nanoseconds * 1e9:.0f}", *(f"{latency / 1e6:.2f}" for latency in latencies),
                         f"{envoy.resident_kib >> 10}"])
        inside.table(["", "requests/s", "p50 ms", "p99 ms", "memory MiB"], rows)
        print("Of one accepted request with a body of 1 KiB, in Envoy's own trace: entries into the VM, and host calls\n")
        inside.table(["", "number"], inside.calls(envoys[OURS], load, files[1 << 10, True]))
    return None


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        wrong = compare(Path(folder))
    if wrong:
        print(wrong)
        return 1
    print("The core by itself: nanoseconds of one decision, of a KiB, of a configuration\n")
    inside.table(["", "", "native", "in V8"], inside.core(FILTERS / "core.wasm"))
    print(f"Does the time of a comparison tell where a wrong value differs? From |t| = {inside.TELLS} on it does: the guard's two must not,\n"
          "those that stop at the first difference must\n")
    rows, is_right = inside.timing(FILTERS / "timing.wasm")
    inside.table(["", "native", "in V8"], rows)
    if not is_right:
        print("A comparison tells what it must not, or one that must tells nothing\n")
    print("Uploads that have stopped half-way and are held\n")
    inside.table(["held", "the VM's memory, KiB", "Envoy's, MiB"], inside.held())
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
