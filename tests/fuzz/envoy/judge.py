"""The application behind a gateway that is fuzzed, which knows what may reach it: every byte beyond that is a finding.

Responsible for the verdict on what has come, whoever sent it. It does not look at the guard: what may pass was said when it was made.
"""

import re
import threading
import time

from harness.upstream import Request, Upstream

from fuzz.envoy.traffic import TOKENS, Delivery, Fate

IDENTITY = b"x-webhook-guard-"
SETTLE_SECONDS = 10.0


class Application(Upstream):
    """`findings` says what is wrong with what has come. A delivery passes once, unless it was expected again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.findings: list[str] = []
        self.delivered = 0
        self._expected: dict[bytes, Delivery] = {}
        self._streamed: dict[bytes, Delivery] = {}
        self._explained = 0
        self._changed = threading.Condition(self._lock)

    def expect(self, *deliveries: Delivery) -> None:
        with self._lock:
            for delivery in deliveries:
                if delivery.fate is not Fate.NEVER:
                    self._expected[delivery.key] = delivery
                    if delivery.policy in TOKENS:
                        self._streamed[delivery.request.test_id.encode()] = delivery

    def forget(self, *deliveries: Delivery) -> None:
        """They are over: what comes of them from now on is a finding."""
        with self._lock:
            for delivery in deliveries:
                self._expected.pop(delivery.key, None)
                self._streamed.pop(delivery.request.test_id.encode(), None)

    def has(self, delivery: Delivery) -> bool:
        """Whether it has come."""
        with self._lock:
            return delivery.key not in self._expected

    def lacks(self, *deliveries: Delivery) -> list[Delivery]:
        """Those that have to come, and have not come in time."""

        def missing() -> list[Delivery]:
            return [delivery for delivery in deliveries if delivery.fate is Fate.MUST and delivery.key in self._expected]

        with self._changed:
            self._changed.wait_for(lambda: not missing(), SETTLE_SECONDS)
            return missing()

    def stray(self) -> int:
        """The bytes that belong to nothing that may have come, once all that is under way is there."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (left := self.mark().bytes - self._explained) and time.monotonic() < deadline:
            time.sleep(0.001)
        return left

    def received(self, request: Request) -> None:
        with self._changed:
            test_id = (request.values("x-test-id") or [b""])[0]
            delivery = self._expected.pop(request.body or test_id, None)
            self._explained += request.size
            self.delivered += 1
            if faults := _faults(request, delivery) if delivery else ["it is nothing that may pass, or had passed before"]:
                self.findings.append(f"{'; '.join(faults)}:\n{request.head!r}\n{request.body[:2000]!r}")
            self._changed.notify_all()

    def broken_off(self, rest: bytes) -> None:
        """Only who brings a token may have his body passed on before its end."""
        test_id = re.search(rb"\r\nx-test-id: (\S+)\r\n", rest)
        with self._lock:
            delivery = self._streamed.get(test_id[1]) if test_id else None
            self._explained += len(rest)
            if rest and not (delivery and delivery.request.body.startswith(rest.partition(b"\r\n\r\n")[2])):
                self.findings.append(f"a part of a request that may not pass has come: {rest[:4000]!r}")


def _faults(request: Request, delivery: Delivery) -> list[str]:
    """What another application could read otherwise than this one, and what the guard should have changed."""
    line, *headers = request.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    names = [header.partition(b":")[0].lower() for header in headers]
    lengths = [name for name in names if name in (b"content-length", b"transfer-encoding")]
    lines = b"".join([line, *headers])
    faults = [f"its head has a bare {character!r}" for character in (b"\r", b"\n", b"\0") if character in lines]
    faults += [f"it has more than one length: {lengths}"] if len(lengths) > 1 else []
    faults += [f"its first line is {line!r}"] if len(line.split(b" ")) != 3 or not line.endswith(b" HTTP/1.1") else []
    faults += ["it has not one host"] if names.count(b"host") != 1 else []
    faults += ["its body is another"] if request.body != delivery.request.body else []
    faults += [f"its target is not {delivery.target!r}"] if delivery.target and request.target != delivery.target else []
    told = {name for name in names if name.replace(b"_", b"-").startswith(IDENTITY)}
    for name, right in ((b"verdict", [b"verified"]), (b"policy", [delivery.policy.encode()])):
        values = request.values((IDENTITY + name).decode())
        faults += [f"the guard's header {name!r} has {values}"] if values not in ([], right) else []
    is_forged = any(b"_" in name for name in told) or b"forged" in request.values("x-webhook-guard-secret-id")
    faults += [f"the guard's headers are {told}"] if is_forged else []
    return faults
