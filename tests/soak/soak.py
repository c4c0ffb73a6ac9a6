"""`make soak`: an hour (SOAK seconds) of good and bad traffic against both forms of the guard at once, while all around it changes.

Responsible for the clock, for the measurements and for the verdict: nothing wrong has passed, everything good has but for what the contract lets be
refused, and memory and file descriptors are in the last quarter what they were in the second, for which it takes some twenty minutes: before that
both grow until there has been everything once. It exits 1 where that is not so. Each form of the guard has a process of its own, with everything that
stands beside its gateway; this one starts both and prints what they found.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness.envoy import GUARD, ROOT, Envoy

from fuzz.envoy.sequences import ALARMS, series, verdicts
from soak.gateway import Gateway, Spans
from soak.senders import Senders

GUARDS = ["wasm", "native"]
FOLDER = ROOT / "target/soak"
SAMPLE_SECONDS = 5.0
# Ordinary deliveries a second, to each; with the slow and the hostile ones that is twice 75.
RATE = float(os.environ.get("RATE", "60"))
# What the median of the last quarter may be above that of the second, in MiB and in files. Of an hour that is half an hour, some 130,000 requests
# and 45 reloads. A configuration lives as long as the slowest request of it, and its VMs with it. What is resident is
# told and not judged: it counts the pages of the program itself that have been read, and what Envoy's allocator keeps after a peak, when two
# configurations with their VMs were alive.
MOST_GROWTH = {"used": 4, "allocated": 1, "vms": 3, "files": 10}
# The errors that are meant to happen: an etcd that is away, and configurations that are refused.
EXPECTED_ERRORS = re.compile("reason=memory_unavailable|configuration refused: |Failed to configure base Wasm plugin|failed to load$")
# What the guard says when it tells an etcd that is away what became of a delivery; the time is Envoy's.
UNTOLD = re.compile(r"\[(.*?)\]\[\d+\]\[error\].* cannot be told what became of deliveries \(gRPC status 14\); they wait")
MEASURES = {"resident": "resident MiB", "used": "of it in use", "allocated": "allocated MiB", "vms": "the VMs' memory, MiB",
            "files": "open files", "sockets": "sockets"}


class Measure:
    """What is measured of an Envoy, every few seconds; `verdicts` are the guard's own counters, by reason, added up over its reloads."""

    def __init__(self, envoy: Envoy) -> None:
        self._envoy, self._began = envoy, time.monotonic()
        self._before: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self.samples: list[dict] = []

    @property
    def verdicts(self) -> Counter[str]:
        return verdicts(self._counted)

    def take(self) -> dict:
        envoy, descriptors = self._envoy, []
        for path in Path(f"/proc/{envoy.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has been closed meanwhile
                descriptors.append(os.readlink(path))
        found = series(envoy)
        # With a configuration Envoy forgets the series that only that one has counted, and begins them anew.
        for labels, count in found.items():
            self._counted[labels] += count - self._before[labels] if count >= self._before[labels] else count
        self._before = found
        memory, anonymous = {key: int(value) / 2**20 for key, value in envoy.memory.items()}, envoy.anonymous_kib / 1024
        self.samples.append({
            "seconds": round(time.monotonic() - self._began), "resident": round(envoy.resident_kib / 1024, 1),
            "used": round(anonymous - memory["pageheap_free"] - memory["total_thread_cache"], 1), "allocated": round(memory["allocated"], 2),
            "vms": round(sum(envoy.linear_memories) / 2**20, 2), "files": len(descriptors),
            "sockets": sum(path.startswith("socket:") for path in descriptors)})
        return self.samples[-1] | {"verdicts": self.verdicts}


def is_fault(line: str, etcd_away: Spans) -> bool:
    """Whether a line of Envoy's log tells of something that was not meant to happen."""
    if not ALARMS.search(line) or EXPECTED_ERRORS.search(line):
        return False
    untold = UNTOLD.match(line)
    return not untold or not etcd_away.holds(time.monotonic() - time.time() + datetime.fromisoformat(untold[1]).timestamp())


def every(seconds: float, stop: threading.Event, act: Callable[[], None], faults: list[str]) -> threading.Thread:
    """Does it again and again, at no regular times."""

    def run() -> None:
        while not stop.wait(random.uniform(0.5, 1.5) * seconds):
            try:
                act()
            except Exception as error:  # of a thread, whose end nobody would notice
                faults.append(f"{time.strftime('%H:%M:%S')} {error!r}")
                print(f"{GUARD}: {faults[-1]}", flush=True)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def one(seconds: float) -> dict:
    """The soak of one form of the guard, and what was found."""
    stop, faults = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder, Gateway(Path(folder)) as gateway:
        senders, measure, began = Senders(gateway, RATE, stop), Measure(gateway.envoy), time.monotonic()
        senders.start()
        threads = [every(40, stop, gateway.reload, faults), every(75, stop, lambda: gateway.restart_etcd(stop), faults),
                   every(45, stop, gateway.change_list, faults), every(150, stop, lambda: gateway.crowd(stop), faults)]
        try:
            with (FOLDER / f"{GUARD}.jsonl").open("w") as file:
                while time.monotonic() - began < seconds and gateway.envoy.is_alive:
                    try:
                        print(json.dumps(measure.take()), file=file, flush=True)
                    except OSError as error:  # Envoy's administration has not answered in time
                        print(f"{GUARD}: {time.strftime('%H:%M:%S')} no sample: {error}", flush=True)
                    time.sleep(SAMPLE_SECONDS)
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        senders.join()
        faults += senders.faults + gateway.application.findings
        if gateway.envoy.is_alive:
            measure.take()
            if stray := gateway.application.stray():
                faults.append(f"{stray} bytes have come that belong to nothing that may pass")
        else:
            faults.append(f"Envoy has ended:\n{gateway.envoy.tail()}")
        lines = gateway.envoy.log_text().splitlines()
        faults += [line for line in lines if is_fault(line, gateway.etcd_away)]
        reached = {"reached the application": gateway.application.delivered, "requests that the guard judged": measure.verdicts.total()}
        counts = {**senders.counts, **gateway.counts, **reached}
    return {"faults": faults + grown(measure.samples), "samples": measure.samples, "counts": counts, "verdicts": measure.verdicts}


def quarter(samples: list[dict], which: int, key: str) -> float:
    size = len(samples) // 4
    return statistics.median(one[key] for one in samples[which * size:(which + 1) * size])


def grown(samples: list[dict]) -> list[str]:
    """What is more in the last quarter than it was in the second."""
    if len(samples) < 8:
        return ["there are too few samples to tell whether memory is flat"]
    found = []
    for key, most in MOST_GROWTH.items():
        second, last = quarter(samples, 1, key), quarter(samples, 3, key)
        if last > second + most:
            found.append(f"{key}: a median of {second:.1f} in the second quarter, and of {last:.1f} in the last")
    return found


def table(results: dict[str, dict]) -> str:
    """What was found, in Markdown, a column for each form of the guard."""
    columns = []
    for result in results.values():
        samples = result["samples"]
        cells = {name: f"{count:,}" for name, count in sorted(result["counts"].items())}
        cells |= {f"verdict `{reason}`": f"{count:,}" for reason, count in sorted(result["verdicts"].items())}
        at = [samples[max(0, len(samples) * share // 100 - 1)] for share in (10, 25, 50, 75, 100)]
        for key, name in MEASURES.items():
            cells[f"{name}, at 10/25/50/75/100 %"] = " / ".join(f"{one[key]:.4g}" for one in at)
            medians = quarter(samples, 1, key), quarter(samples, 3, key)
            cells[f"{name}, medians of the second and of the last quarter"] = " / ".join(f"{median:.4g}" for median in medians)
        columns.append(cells | {"faults": str(len(result["faults"]))})
    names = dict.fromkeys(name for cells in columns for name in cells)
    rows = [f"| {name} | {' | '.join(cells.get(name, '0') for cells in columns)} |" for name in names]
    return "\n".join([f"| | {' | '.join(results)} |", f"| --- |{' --- |' * len(results)}", *rows])


def main() -> int:
    seconds = float(os.environ.get("SOAK", "3600"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:] == ["one"]:
        (FOLDER / f"{GUARD}.json").write_text(json.dumps(one(seconds)))
        return 0
    print(f"{seconds:g} s, from {time.strftime('%H:%M:%S')} on; the samples are in {FOLDER.relative_to(ROOT)}/", flush=True)
    running = {guard: subprocess.Popen([sys.executable, __file__, "one"], env=os.environ | {"GUARD": guard}) for guard in GUARDS}
    ended = {guard: process.wait() for guard, process in running.items()}
    if any(ended.values()):
        print(f"a soak has ended by itself: {ended}")
        return 1
    results = {guard: json.loads((FOLDER / f"{guard}.json").read_text()) for guard in GUARDS}
    print(table(results))
    for guard, result in results.items():
        print(*(f"\n{guard}: {fault}" for fault in result["faults"][:50]), sep="")
    return 1 if any(result["faults"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
