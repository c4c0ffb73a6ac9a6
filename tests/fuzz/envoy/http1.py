"""Sequences of HTTP/1.1: requests behind one another on one connection, framed well, in every other way, or not at all.

Responsible for bytes. In `clean` sequences every good delivery has to pass; around `twisted` ones nobody can say which Envoy takes, and
only what they may not do is judged.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from harness.client import TRAILERS, Headers, Request

from fuzz.envoy.sequence import End, Sequence, split
from fuzz.envoy.traffic import FIRM, HOST, Delivery, Fate, Traffic

CHUNKED: Headers = [(b"transfer-encoding", b"chunked")]


def head(request: Request, framing: Headers, *, eol: bytes = b"\r\n", version: bytes = b"HTTP/1.1") -> bytes:
    lines = [b"%s %s %s" % (request.method, request.target, version), b"host: " + request.host]
    lines += [b"%s: %s" % pair for pair in [*request.all_headers, *framing]]
    return eol.join([*lines, b"", b""])


def length(body: bytes) -> Headers:
    return [(b"content-length", b"%d" % len(body))]


def _size_line(size: int) -> bytes:
    return b"%x\r\n" % size


def chunks(random: Random, body: bytes, *, size_line: Callable[[int], bytes] = _size_line, trailers: Headers | None = None) -> bytes:
    wire, start = b"", 0
    while start < len(body):
        part = body[start:start + random.choice([1, 7, 100, 4096, 20_000])]
        start += len(part)
        wire += size_line(len(part)) + part + b"\r\n"
    return wire + size_line(0) + b"".join(b"%s: %s\r\n" % pair for pair in trailers or []) + b"\r\n"


def statuses(received: bytes) -> dict[int, int]:
    """Those of all complete answers but the interim ones."""
    found: dict[int, int] = {}
    while True:
        start, blank, rest = received.partition(b"\r\n\r\n")
        if not blank:
            return found
        status = int(start.split(b" ", 2)[1])
        sizes = [int(line.split(b":")[1]) for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = sizes[0] if sizes and status >= 200 else 0
        if len(rest) < size:
            return found
        if status >= 200:
            found[len(found)] = status
        received = rest[size:]


# Framings that Envoy has to take.


def _well_framed(random: Random, delivery: Delivery) -> bytes:
    request, body = delivery.request, delivery.request.body
    if not body and random.random() < 0.5:
        return head(request, [])
    kind = random.choice(["length", "length", "chunked", "extension", "trailers", "expect", "absolute"])
    if kind == "length":
        return head(request, length(body)) + body
    if kind == "expect":
        return head(request, [*length(body), (b"expect", b"100-continue")]) + body
    if kind == "absolute" and delivery.fate is Fate.MUST:
        return head(replace(request, target=b"http://" + request.host + request.target), length(body)) + body
    size_line = (lambda size: b"%X;name=value;other=\"a;b\"\r\n" % size) if kind == "extension" else _size_line
    return head(request, CHUNKED) + chunks(random, body, size_line=size_line, trailers=TRAILERS if kind == "trailers" else [])


def clean(random: Random, traffic: Traffic) -> Sequence:
    """Some good deliveries, and at times a bad one last: Envoy may close behind that."""
    count = random.choice([0, 1, 1, 2, 4])
    deliveries = [traffic.without_body() if random.random() < 0.1 else traffic.good() for _ in range(count)]
    once = [delivery for delivery in deliveries if delivery.policy == "once"]
    again = None
    if once and random.random() < 0.5:
        deliveries.append(traffic.copy(once[0]))
    elif not deliveries or random.random() < 0.5:
        deliveries.append(traffic.bad())
    else:
        good = traffic.good()
        again = good, count, head(good.request, length(good.request.body)) + good.request.body
    wire = b"".join(_well_framed(random, delivery) for delivery in deliveries)
    return Sequence("HTTP/1.1", deliveries, split(random, wire), statuses, awaited=dict(enumerate(deliveries)), again=again,
                    pause=random.choice([0, 0, 0.001]))


# What Envoy may take in one way or another, or refuse.

CODINGS = [b"chunked", b"Chunked", b"chunked, identity", b"identity, chunked", b"xchunked", b" chunked", b"chunked\t", b"\x0bchunked",
           b"chunked, chunked", b"gzip, chunked", b"identity", b"chunked;q=1", b"\"chunked\"", b"", b"chunke\0d"]
# Each is a name or two in front of the coding, or another header with it.
CODING_NAMES = [[b"transfer-encoding"], [b"Transfer-Encoding"], [b"transfer-encoding "], [b" transfer-encoding"], [b"transfer_encoding"],
                [b"x: y\r\n transfer-encoding"], [b"x: y\ntransfer-encoding"], [b"transfer-encoding\t"], [b"x: y\rtransfer-encoding"],
                [b"transfer-encoding"] * 2]
SIZE_LINES: list[Callable[[int], bytes]] = [
    lambda size: b"%x\n" % size, lambda size: b"0x%x\r\n" % size, lambda size: b"+%x\r\n" % size, lambda size: b"-%x\r\n" % size,
    lambda size: b"%x \r\n" % size, lambda size: b" %x\r\n" % size, lambda size: b"%x_\r\n" % size, lambda size: b"%x\r\r\n" % size,
    lambda size: b"\r\n%x\r\n" % size, lambda size: b"%020x\r\n" % size, lambda size: b"1%016x\r\n" % size,
    lambda size: b"%x;\n\r\n" % size, lambda size: b"%x;a=\"\r\n\"\r\n" % size, lambda size: b"%x;%s\r\n" % (size, b"e" * 20_000),
    lambda size: b"%x\r\n" % (size + 1), lambda size: b"%x\r\n" % max(size - 1, 0),
]
ODD_TRAILERS: list[Headers] = [
    [], TRAILERS, [(b"content-length", b"3"), (b"x-webhook-guard-verdict", b"forged")], [(b"a", b"b")] * 200, [(b"a b", b"c")],
    [(b" folded", b"c")], [(b"x", b"y" * 70_000)], CHUNKED,
]
ODD_HEADERS: Headers = [
    (b"x", b"a\r\n folded"), (b"x", b"a\n folded"), (b"x ", b"a"), (b"x y", b"a"), (b"x", b"a\0b"), (b"x", b"a\rb"), (b"", b"a"),
    (b"x\0", b"a"), (b"(x)", b"a"), (b"x\xff", b"a"), (b"host", b"example.org"), (b"host", HOST), (b"connection", b"close"),
    (b"connection", b"x-hub-signature-256"), (b"connection", b"host, content-length"), (b"connection", b"upgrade"), (b"upgrade", b"h2c"),
    (b"upgrade", b"websocket\r\nconnection: upgrade"), (b"te", b"trailers"), (b"expect", b"200-maybe"), (b"expect", b"100-continue"),
    (b"x", b"l" * 100_000), (b"x", b"y\r\nx: y" * 150), (b"proxy-connection", b"keep-alive"), (b"content-length", b""),
    (b":path", b"/admin"), (b":method", b"GET"),
]
ODD_VERSIONS = [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"", b"HTTP/0.9", b"HTTP/1.1\0"]
ODD_HOSTS = [b"", b" ", HOST + b"\r\nhost: example.org", HOST + b"/admin", b"http://" + HOST, HOST + b":99999", b"[::1]",
             b"%68ooks.example.com", HOST + b"#", HOST + b"?"]
INSERTED = [b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n", b"\r\ncontent-length: 3\r\n",
            b"0\r\n\r\n", b"\xff\xfe"]
BEHIND = [b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /admin\r\n", b"0\r\n\r\n", b"X" * 5,
          b"\0\x01\xff"]


def _odd_targets(target: bytes) -> list[bytes]:
    return [b"http://" + HOST + target, b"HTTPS://" + HOST + target, b"http://example.org" + target, b"http://" + HOST + b"@example.org" + target,
            b"//" + HOST + target, b"http:" + target, b"http:///" + target, b"http://" + HOST + b"?" + target, b"*", HOST + b":443", b"",
            target + b"#fragment", target + b" /admin", b" " + target, target + b"\t", target[1:], b"\\hooks\\github", target + b"\0"]


def _lying_length(random: Random, delivery: Delivery) -> bytes:
    body, size = delivery.request.body, len(delivery.request.body)
    values = random.choice([
        [size - 1], [size + 1], [0], [5], [size, size], [size, 5], [5, size], [f"{size}, {size}"], [f"{size}, 5"], [f"+{size}"], [f" {size}"],
        [f"-{size}"], [hex(size)], [f"0{size}"], [f"{size}.0"], ["9" * 40], [""], [f"{size} {size}"], [f"{size}\t"], [f"{size}\0"],
        [size + 2**64]])
    return head(delivery.request, [(b"content-length", str(value).encode()) for value in values]) + body


def _both(random: Random, delivery: Delivery) -> bytes:
    """Two lengths at once: one as the signed body has it, and one of more or less."""
    body = delivery.request.body
    wire = chunks(random, body) if random.random() < 0.6 else body
    size = random.choice([len(wire), len(body), 0, 5, len(wire) + 50])
    coding = random.choice(CODINGS)
    framing = [(b"content-length", b"%d" % size)] * random.choice([0, 1, 1]) + [(name, coding) for name in random.choice(CODING_NAMES)]
    random.shuffle(framing)
    return head(delivery.request, framing) + wire


def _bad_chunks(random: Random, delivery: Delivery) -> bytes:
    body = chunks(random, delivery.request.body, size_line=random.choice(SIZE_LINES), trailers=random.choice(ODD_TRAILERS))
    wire = head(delivery.request, CHUNKED) + body
    return wire[:-random.choice([1, 2, 2, 4])] if random.random() < 0.3 else wire


def _odd_head(random: Random, delivery: Delivery) -> bytes:
    request, framing = delivery.request, length(delivery.request.body)
    plain, odd = head(request, framing), random.choice(ODD_HEADERS)
    return random.choice([
        head(request, [*framing, odd]), head(request, [odd, *framing]),
        head(request, framing, eol=b"\n"), head(request, framing, eol=b"\r\r\n"),
        b"\r\n" * random.choice([1, 2, 50]) + plain, b"\n" + plain, b" " + plain,
        head(request, framing, version=random.choice(ODD_VERSIONS)), head(request, framing, version=random.choice(ODD_VERSIONS)),
        head(replace(request, target=random.choice(_odd_targets(request.target))), framing),
        head(replace(request, target=random.choice(_odd_targets(request.target))), framing),
        head(replace(request, host=random.choice(ODD_HOSTS)), framing),
        plain.replace(b": ", random.choice([b":", b":\t", b" : ", b":  ", b":\r\n "])),
        plain[:random.randrange(1, 400)], plain[:-2], plain + b"\r\n",
    ]) + request.body


def _mutated(random: Random, delivery: Delivery) -> bytes:
    wire = bytearray(_well_framed(random, delivery))
    for _ in range(random.choice([1, 1, 2, 5, 20])):
        at = random.randrange(len(wire))
        kind = random.randrange(4)
        if kind == 0:
            wire[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del wire[at:at + random.choice([1, 2, 20])]
        elif kind == 2:
            wire[at:at] = random.choice(INSERTED)
        else:
            wire[at:at] = wire[at:at + random.randrange(40)]
        wire = wire or bytearray(b"\n")
    return bytes(wire)


def twisted(random: Random, traffic: Traffic) -> Sequence:
    """Deliveries of policies with a signature: a token says nothing of the body, so that any body may come with it."""
    deliveries, wire = [], b""
    for _ in range(random.choice([1, 1, 2, 3])):
        framed = random.choice([_lying_length, _both, _bad_chunks, _odd_head, _mutated, _well_framed])
        delivery = traffic.forged() if random.random() < 0.3 else traffic.good(*FIRM)
        delivery.fate, delivery.target = Fate.MAY if delivery.fate is Fate.MUST else delivery.fate, b""
        deliveries.append(delivery)
        wire += framed(random, delivery)
        if random.random() < 0.2:
            wire += random.choice(BEHIND)
    if random.random() < 0.2:
        wire = wire[:random.randrange(1, len(wire) + 1)]
    end = random.choice([End.READ, End.READ, End.READ, End.HALF_CLOSE, End.CLOSE, End.RESET])
    return Sequence("HTTP/1.1", deliveries, split(random, wire), statuses, end=end, pause=random.choice([0, 0, 0.001]))


def cut_short(random: Random, traffic: Traffic) -> Sequence:
    """A good delivery of any policy of which the end never comes, or which nobody waits for."""
    delivery = traffic.good()
    delivery.fate = Fate.MAY
    wire = _well_framed(random, delivery)
    wire = wire[:random.choice([len(wire), random.randrange(1, len(wire) + 1)])]
    return Sequence("HTTP/1.1", [delivery], split(random, wire), statuses,
                    end=random.choice([End.HALF_CLOSE, End.CLOSE, End.RESET]), pause=random.choice([0, 0.001]))
