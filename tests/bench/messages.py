"""What `webhook-guard-messages` holds: records a second, and how soon a list and a search are there among millions.

    target/venv/bin/python tests/bench/messages.py --count 5000000        on a machine of its own; some minutes

Responsible for sending records over OTLP as fast as they are taken, then at a steady rate while lists and searches are asked
for, and for saying what was measured. The records are made before the clock starts: a body of some 700 bytes each, of words
from a small vocabulary and numbers that are their own.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import records  # noqa: E402  (the line above has to come first)
from harness.messages import Messages  # noqa: E402

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
WORDS = [f"{one}{other}" for one in "push merge deploy build release branch commit review approve rollback".split() for other in "ed er ing s able".split()]
POLICIES = ["github", "slack", "stripe", "gitlab", "build-server"]
BATCH, DISTINCT = 200, 400


def batches(seed: int) -> list[bytes]:
    """So many different batches that what repeats costs nothing less."""
    chance = random.Random(seed)
    made = []
    for _ in range(DISTINCT):
        batch = []
        for _ in range(BATCH):
            event = {"id": str(uuid.UUID(int=chance.getrandbits(128))), "number": chance.randrange(10**9),
                     "title": " ".join(chance.choices(WORDS, k=60)), "sender": {"login": f"user{chance.randrange(5000)}"}}
            fields = {"request_id": event["id"], "delivery_id": str(uuid.UUID(int=chance.getrandbits(128))), "policy": chance.choice(POLICIES),
                      "headers": '{"content-type":"application/json","x-github-event":"push"}'}
            if chance.random() < 0.9:
                fields |= {"verdict": "allow", "reason": "ok", "status": "200"}
            batch.append(fields | records.body(json.dumps(event).encode()))
        made.append(records.batch(*batch).SerializeToString())
    return made


class Senders:
    """Some senders, each with one request under way."""

    def __init__(self, port: int, count: int, made: list[bytes]) -> None:
        self.sent, self.refused, self._made, self._ends = 0, 0, made, False
        self._lock = threading.Lock()
        self.rate = 0.0
        self._next = time.monotonic()
        self._threads = [threading.Thread(target=self._send, args=(port, number), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self, port: int, number: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.unary_unary(EXPORT)
            turn = number
            while not self._ends:
                self._wait()
                try:
                    export(self._made[turn % len(self._made)], timeout=30)
                    with self._lock:
                        self.sent += BATCH
                except grpc.RpcError:
                    self.refused += BATCH
                    time.sleep(0.05)
                turn += len(self._threads)

    def _wait(self) -> None:
        if not self.rate:
            return
        with self._lock:
            at = self._next = max(self._next + BATCH / self.rate, time.monotonic() - 1)
        time.sleep(max(0.0, at - time.monotonic()))

    def end(self) -> None:
        self._ends = True
        for thread in self._threads:
            thread.join(30)


QUESTIONS = {
    "the newest 50": {}, "the newest refused": {"verdict": "deny"}, "one policy, refused": {"policy": "stripe", "verdict": "deny"},
    "one reason": {"reason": "signature_mismatch"}, "one status": {"status": "401"}, "an older page": {"before": "OLD"},
    "a word that many have": {"q": "deployed"}, "three words": {"q": "deployed mergeing reviews"}, "two words, refused": {"q": "deployed mergeing", "verdict": "deny"},
    "a number that few have": {"q": "NUMBER"}, "an id": {"q": "ID"}, "the beginning of many words": {"q": "deploy*"}, "words that none has": {"q": "zebra crossing"},
}


def ask(messages: Messages, oldest: int, found: dict) -> dict[str, list[float]]:
    number = json.loads(messages.body(found["id"]))["number"]
    times: dict[str, list[float]] = {}
    for _ in range(10):
        for name, filters in QUESTIONS.items():
            filters = {key: {"OLD": oldest, "NUMBER": number, "ID": found["request_id"]}.get(value, value) for key, value in filters.items()}
            start = time.perf_counter()
            messages.messages(**filters)
            times.setdefault(name, []).append((time.perf_counter() - start) * 1000)
        for name, path in (("the week by the hour", "/api/hours"), ("what there is to filter by", "/api/values"), ("one message", f"/api/messages/{found['id']}")):
            start = time.perf_counter()
            messages.ask(path)
            times.setdefault(name, []).append((time.perf_counter() - start) * 1000)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000_000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--steady", type=float, default=60, help="seconds at that rate")
    arguments = parser.parse_args()
    made = batches(1)
    print(f"{len(made)} batches of {BATCH}, {sum(map(len, made)) / len(made) / BATCH:.0f} bytes a record", flush=True)
    with tempfile.TemporaryDirectory(prefix="webhook-guard-messages-", dir="target") as folder, Messages(Path(folder), "--max-size", "1TiB") as messages:
        senders, start, told = Senders(messages.otlp, 8, made), time.monotonic(), 0
        while senders.sent < arguments.count:
            time.sleep(1)
            if senders.sent // 250_000 > told:
                told = senders.sent // 250_000
                print(f"{senders.sent:>9} stored, {senders.sent / (time.monotonic() - start):.0f} a second so far", flush=True)
        print(f"as fast as they are taken: {senders.sent / (time.monotonic() - start):.0f} a second, {senders.refused} refused", flush=True)
        senders.rate, senders._next = arguments.rate, time.monotonic()
        time.sleep(5)
        before, start, cpu = senders.sent, time.monotonic(), processor(messages.process.pid)
        newest = messages.messages()[0]
        times: dict[str, list[float]] = {}
        while time.monotonic() - start < arguments.steady:
            for name, values in ask(messages, newest["id"] // 2, newest).items():
                times.setdefault(name, []).extend(values)
        elapsed = time.monotonic() - start
        print(f"steady: {(senders.sent - before) / elapsed:.0f} a second for {elapsed:.0f} s, {senders.refused} refused, "
              f"{(processor(messages.process.pid) - cpu) / elapsed:.2f} of a processor, questions included")
        senders.end()
        stored = newest["id"]
        files = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"{stored} stored in {files / 2**30:.2f} GiB, {files / stored:.0f} bytes a message; {resident(messages.process.pid)} MiB of memory")
        print("| question | median, ms | 99th percentile, ms |\n| --- | --- | --- |")
        for name, values in times.items():
            print(f"| {name} | {statistics.median(values):.1f} | {statistics.quantiles(values, n=100)[98]:.1f} |")


def processor(pid: int) -> float:
    """The seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
