"""`make fuzz-envoy`: random sequences of requests, framed in every way, through a real Envoy, for FUZZ seconds.

After each sequence: of whatever was not signed as it should be no byte has reached the application; every good delivery has that had to; the
next good one passes, on a new connection and on the same where it is still open; Envoy and the guard are alive. The first time that is not so
it prints the sequence, byte by byte, and exits 1. SEED=SEED makes the same sequences again, and SEED=SEED/NUMBER those from that number on;
only the times in what is signed are others.
"""

import itertools
import os
import re
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import client, shipped
from harness.envoy import GUARD, LOGGER, Envoy, bootstrap

from fuzz.envoy import http1, http2
from fuzz.envoy.judge import Application
from fuzz.envoy.sequence import Answers, Sequence, drive
from fuzz.envoy.traffic import Delivery, Fate, Traffic, guard_config

MAKERS = [http1.clean, http1.twisted, http1.twisted, http1.cut_short, http2.clean, http2.twisted, http2.twisted]
RECENT = 100
# What Envoy or the guard says when something has gone wrong within, and not with a request.
ALARMS = re.compile(r"host_fault|panicked|\[(?:error|critical)\]|Backtrace|Caught ")
TAGS = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]


class Target:
    """A guarded Envoy in front of an application, as a context manager."""

    def __init__(self, *, hold: bool) -> None:
        self._hold = hold
        # What nobody waited for may come while later sequences are sent.
        self._recent: deque[list[Delivery]] = deque()

    def __enter__(self) -> "Target":
        with ExitStack() as stack:
            self.application = stack.enter_context(Application())
            options = {"upstream_port": self.application.port, "hold": self._hold, "stats_tags": TAGS, "hcm": {"access_log": []}}
            self.envoy = stack.enter_context(Envoy(bootstrap(guard_config(), **options)))
            self.envoy.admin(f"/logging?{LOGGER}=warning", post=True)  # a line for each refusal is not what this is about
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, sequence: Sequence, good: Delivery) -> list[str]:
        """What was wrong with it, or behind it."""
        application = self.application
        deliveries = [*sequence.deliveries, *([sequence.again[0]] if sequence.again else []), good]
        application.expect(*deliveries)
        before = application.delivered
        try:
            answers = drive(self.envoy.port, sequence)
            told = sum(200 <= status < 300 for status in answers.statuses.values())
            taken = application.delivered - before
            faults = [f"{told} answers say that a delivery was taken, and {taken} were"] if told > taken else []
            faults += judge(sequence, answers)
            sent = (client.h1_length if len(good.request.body) % 2 else client.h2_send)(self.envoy.port, good.request)
            faults += [f"the next good delivery was answered {sent.status}"] if sent.status != 200 else []
        except OSError as error:
            faults = [f"nothing can be sent any more: {error}"]
        awaited = [delivery for delivery in deliveries if not sequence.again or delivery is not sequence.again[0]]
        faults += [f"{delivery.request.test_id} had to pass and has not come" for delivery in application.lacks(*awaited)]
        faults += [f"{stray} bytes have come that belong to nothing that may pass"] if (stray := application.stray()) else []
        self._recent.append(deliveries)
        if len(self._recent) > RECENT:
            application.forget(*self._recent.popleft())
        return faults + application.findings + ALARMS.findall(self.envoy.log_text())


def judge(sequence: Sequence, answers: Answers) -> list[str]:
    """What is wrong with the answers."""
    faults = []
    for number, delivery in (sequence.awaited or {}).items():
        status = answers.statuses.get(number)
        if status is None and answers.was_open or delivery.fate is Fate.MUST and status != 200 or delivery.fate is Fate.NEVER and status == 200:
            faults.append(f"{delivery.request.test_id} {delivery.fate.value} and was answered {status}")
    if sequence.again and answers.was_open:
        status = answers.statuses.get(sequence.again[1])
        if status != 200 and not (status is None and not answers.stayed_open):
            faults.append(f"the next good delivery on the same connection was answered {status}")
    return faults


def series(envoy: Envoy) -> Counter[str]:
    """The guard's own counter of requests, by its labels."""
    found = re.findall(r"^webhook_guard_requests_total\{(.*)\} (\d+)$", envoy.prometheus(), re.MULTILINE)
    return Counter({labels: int(value) for labels, value in found})


def verdicts(counted: Counter[str]) -> Counter[str]:
    """The same by reason."""
    found: Counter[str] = Counter()
    for labels, value in counted.items():
        found[re.search(r'reason="(.*?)"', labels)[1]] += value
    return found


def report(seed: str, number: int, sequence: Sequence, faults: list[str], envoy: Envoy) -> None:
    print(f"\nFAILED: GUARD={GUARD} SEED={seed}/{number}, {sequence.protocol}, then {sequence.end.value}; the pieces that were written:")
    for piece in sequence.pieces:
        print(f"  {piece!r}")
    print("\nthe deliveries in it:")
    for delivery in sequence.deliveries:
        request = delivery.request
        print(f"  {request.test_id} for {delivery.policy} {delivery.fate.value}: {request.method!r} {request.target!r}, {len(request.body)} bytes")
    print("\nwhat was wrong:", *faults, f"\nEnvoy's log ends:\n{envoy.tail()}", sep="\n  ")


def main() -> int:
    seed, _, first = os.environ.get("SEED", "").partition("/")
    seed, seconds = seed or str(time.time_ns()), float(os.environ.get("FUZZ", "60"))
    print(f"GUARD={GUARD} SEED={seed}, {seconds:g} s", flush=True)
    counts: Counter[str] = Counter()
    with Target(hold=True) as held, Target(hold=False) as buffer_behind:
        targets, deadline = [held, buffer_behind], time.monotonic() + seconds
        for number in itertools.count(int(first or "0")):
            if time.monotonic() > deadline:
                break
            random, target = Random(f"{seed}/{number}"), targets[number % 2]
            traffic = Traffic(random, f"{GUARD}-{number}")
            sequence = random.choice(MAKERS)(random, traffic)
            counts.update({f"{sequence.protocol} sequences": 1, "deliveries": len(sequence.deliveries)})
            counts.update(f"that {delivery.fate.value}" for delivery in sequence.deliveries)
            if faults := target.run(sequence, traffic.good()):
                report(seed, number, sequence, faults, target.envoy)
                return 1
        passed = sum(target.application.delivered for target in targets)
        reasons = verdicts(series(held.envoy) + series(buffer_behind.envoy))
    print(*(f"{count} {name}," for name, count in sorted(counts.items())), f"{passed} reached the application, the good ones behind each included")
    print("the guard's verdicts: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    return 1 if reasons["host_fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
