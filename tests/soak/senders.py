"""Who sends to a gateway for an hour, each in a thread of its own, and what each holds against an answer.

Responsible for what is sent when, and for which answers are right: every good delivery is taken and has reached the application by then, but for
the refusals that the contract promises while etcd is away, while more is held than may be, or while a list is changed.
"""

import itertools
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from threading import Event

from harness import client
from harness.client import Response
from harness.envoy import GUARD

from fuzz.envoy import http1
from fuzz.envoy.sequence import drive
from fuzz.envoy.sequences import MAKERS, judge
from fuzz.envoy.traffic import TOKENS, Delivery, Fate, Traffic

from soak.gateway import Gateway

SENDS = [*[client.h1_length] * 3, client.h1_chunked, partial(client.h1_chunked, trailers=client.TRAILERS), client.h2_send]
# What stands in nobody's way: neither a memory nor a list is asked.
PLAIN = ["github", "hosted", "slack", "stripe", "svix", "form", "token", "query"]
LATE = 200


class Senders:
    """Sends from `start` on until `stop` is set. `faults` are the answers that were wrong; `counts` what was sent, by its kind."""

    def __init__(self, gateway: Gateway, rate: float, stop: Event) -> None:
        self._gateway, self._rate, self._stop = gateway, rate, stop
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        runs = [self._ordinary, self._ordinary, self._hostile, *[self._slow] * 12]
        self._threads = [threading.Thread(target=self._guarded, args=(run, index)) for index, run in enumerate(runs)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _guarded(self, run: Callable[[Traffic, random.Random], None], index: int) -> None:
        chance = random.Random()
        try:
            run(Traffic(chance, f"{GUARD}-{index}", PLAIN), chance)
        except Exception as error:  # of a thread, whose end nobody would notice
            self._fault(f"a sender has ended: {error!r}")

    def _ordinary(self, traffic: Traffic, chance: random.Random) -> None:
        """Good and bad ones, half of them good, at half of the rate each; and some of those that were delivered, again."""
        delivered: deque[Delivery] = deque(maxlen=5000)
        began = time.monotonic()
        for number in itertools.count(1):
            if self._stop.wait(max(0, began + number * 2 / self._rate - time.monotonic())):
                return
            kind = chance.random()
            if kind < 0.4:
                self._send(traffic.bad(), chance)
            elif kind < 0.5 and delivered:
                again = chance.choice(delivered) if chance.random() < 0.5 else delivered[-1]
                self._send(traffic.copy(again), chance, duplicate=True)
            else:
                delivery = traffic.without_body() if kind < 0.55 else traffic.good("once", "addressed", *PLAIN)
                if self._send(delivery, chance) == 200 and delivery.policy == "once":
                    delivered.append(delivery)

    def _send(self, delivery: Delivery, chance: random.Random, *, duplicate: bool = False) -> int:
        gateway, since = self._gateway, time.monotonic()
        is_open = gateway.is_open
        if not is_open and delivery.policy == "addressed" and delivery.fate is Fate.MUST:
            delivery.fate = Fate.MAY
        gateway.application.expect(delivery)
        send = chance.choice(SENDS)
        response = send(gateway.envoy.port, delivery.request)
        # Of a declared length a token's body is passed on as it comes, and an empty one has ended with its head.
        is_held = send is not client.h1_length or (delivery.request.body and delivery.policy not in TOKENS)
        may_be_refused = self._may_be_refused(delivery, since, is_held=bool(is_held))
        self._count("good" if delivery.fate is Fate.MUST else "duplicates" if duplicate else "bad")
        if duplicate:
            right = {409, 503} if may_be_refused else {409}
        elif delivery.policy == "addressed" and delivery.fate is not Fate.NEVER:
            right = {200, 403} if gateway.list_changes.overlap(since) else {200} if is_open else {403}
        else:
            right = {200}
        if delivery.fate is not Fate.NEVER and may_be_refused:
            right.add(503)
        self._judge(delivery, response, right if duplicate or delivery.fate is not Fate.NEVER else None, since)
        return response.status

    def _may_be_refused(self, delivery: Delivery, since: float, *, is_held: bool) -> bool:
        """While etcd is away what needs it is refused; while too much is held, what would have to be held too."""
        gateway = self._gateway
        return (delivery.policy == "once" and gateway.etcd_away.overlap(since)) or (is_held and gateway.crowded.overlap(since))

    def _judge(self, delivery: Delivery, response: Response, right: set[int] | None, since: float) -> None:
        """`right` are the statuses that it may have; without them any that is a refusal, or none where Envoy hangs up."""
        has_come = self._gateway.application.has(delivery)
        self._gateway.application.forget(delivery)
        if response.status == 200 and not has_come and delivery.fate is not Fate.NEVER:
            self._fault(f"{delivery.request.test_id} was answered 200 and has not come")
        if response.status not in right if right is not None else 200 <= response.status < 300:
            request = delivery.request
            sent = f"{delivery.policy} ({delivery.fate.value}) {request.method!r} {request.target!r} {request.headers!r}, {len(request.body)} bytes"
            took = time.monotonic() - since
            self._fault(f"{request.test_id} was answered {response.status} and not {right or 'refused'} after {took:.1f} s: {sent}")
        if response.status == 503 and right is not None and delivery.fate is not Fate.NEVER:
            self._count("good, refused while etcd was away or too much was held")

    def _hostile(self, traffic: Traffic, chance: random.Random) -> None:
        """The sequences of `make fuzz-envoy`, a few a second."""
        gateway, late = self._gateway, deque[Delivery]()
        while not self._stop.wait(0.25):
            since = time.monotonic()
            sequence = chance.choice(MAKERS)(chance, traffic)
            deliveries = [*sequence.deliveries, *([sequence.again[0]] if sequence.again else [])]
            gateway.application.expect(*deliveries)
            answers = drive(gateway.envoy.port, sequence)
            self._count("hostile sequences")
            if not gateway.crowded.overlap(since):
                missing = [f"{one.request.test_id} had to pass and has not come" for one in gateway.application.lacks(*sequence.deliveries)]
                for fault in judge(sequence, answers) + missing:
                    self._fault(f"{fault}; {sequence.protocol}: {sequence.pieces!r}")
            self._later(late, deliveries)

    def _slow(self, traffic: Traffic, chance: random.Random) -> None:
        """Heads and bodies that take up to a minute, of which half end well, and others never."""
        gateway, late = self._gateway, deque[Delivery]()
        while not self._stop.wait(chance.uniform(0, 3)):
            since = time.monotonic()
            delivery = traffic.good("github", "slack", "svix", "token", size=chance.choice([100, 5000, 50_000]))
            ends = chance.random() < 0.5
            delivery.fate = Fate.MUST if ends else Fate.MAY
            gateway.application.expect(delivery)
            wire = http1.head(delivery.request, http1.length(delivery.request.body)) + delivery.request.body
            cuts = sorted(chance.sample(range(1, len(wire)), 20))
            pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
            self._count("slow")
            pause = chance.choice([0.05, 0.5, 2, 3])
            pieces = pieces if ends else pieces[:chance.randrange(1, 20)]
            status = _dribble(gateway.envoy.port, pieces, pause, self._stop, answered=ends)
            if status is None:
                self._later(late, [delivery])
            else:
                may_be_refused = self._may_be_refused(delivery, since, is_held=delivery.policy not in TOKENS)
                self._judge(delivery, Response(status, [], b""), {200, 503} if may_be_refused else {200}, since)

    def _later(self, late: deque[Delivery], deliveries: list[Delivery]) -> None:
        """What nobody waits for may come for a while."""
        late.extend(deliveries)
        while len(late) > LATE:
            self._gateway.application.forget(late.popleft())

    def _count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1

    def _fault(self, text: str) -> None:
        self.faults.append(f"{time.strftime('%H:%M:%S')} {text}"[:4000])
        print(f"{GUARD}: {self.faults[-1]}", flush=True)


def _dribble(port: int, pieces: list[bytes], pause: float, stop: Event, *, answered: bool) -> int | None:
    """The status, if it is answered; None where it is given up."""
    with socket.create_connection(("127.0.0.1", port), timeout=client.TIMEOUT) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                if stop.wait(pause):
                    pause = 0
        except OSError:
            pass  # it was answered before its end
        if not answered:
            return None
        received = b""
        while not (statuses := http1.statuses(received)):
            try:
                more = connection.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return 0
            received += more
        return statuses[0]
