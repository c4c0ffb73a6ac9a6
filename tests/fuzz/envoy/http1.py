"""Sequences of HTTP/1.1: requests behind one another on one connection, framed well, in every other way, or not at all.

Responsible for bytes. In `clean` sequences every good delivery has to pass; around `twisted` ones nobody can say which Envoy takes, and
only what they may not do is judged.
"""

from collections.abc import Callable
from random import Random

from harness.client import Headers

from fuzz.envoy.sequence import End, Sequence, split
from fuzz.envoy.traffic import SIGNERS, Delivery, Fate, Traffic

TRAILERS: Headers = [(b"x-checksum", b"abc"), (b"x-hub-signature-256", b"sha256=" + b"0" * 64), (b"content-length", b"3"), (b"x-webhook-guard-verdict", b"forged")]


def head(delivery: Delivery, framing: Headers, *, eol: bytes = b"\r\n", version: bytes = b"HTTP/1.1", target: bytes | None = None, host: bytes | None = None) -> bytes:
    request = delivery.request
    lines = [b"%s %s %s" % (request.method, target or request.target, version), b"host: " + (host or request.host)]
    lines += [b"%s: %s" % pair for pair in [*request.all_headers, *framing]]
    return eol.join([*lines, b"", b""])


def length(body: bytes) -> Headers:
    return [(b"content-length", b"%d" % len(body))]


CHUNKED: Headers = [(b"transfer-encoding", b"chunked")]


def chunks(random: Random, body: bytes, *, size_line: Callable[[int], bytes] = lambda size: b"%x\r\n" % size, trailers: Headers | None = None) -> bytes:
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
    body = delivery.request.body
    if not body and random.random() < 0.5:
        return head(delivery, [])
    kind = random.choice(["length", "length", "chunked", "extension", "trailers", "expect", "absolute"])
    if kind == "length":
        return head(delivery, length(body)) + body
    if kind == "expect":
        return head(delivery, [*length(body), (b"expect", b"100-continue")]) + body
    if kind == "absolute" and delivery.fate is Fate.MUST:
        return head(delivery, length(body), target=b"http://" + delivery.request.host + delivery.request.target) + body
    extension = kind == "extension"
    size_line = (lambda size: b"%X;name=value;other=\"a;b\"\r\n" % size) if extension else (lambda size: b"%x\r\n" % size)
    trailers = TRAILERS[:2] if kind == "trailers" else None
    return head(delivery, CHUNKED) + chunks(random, body, size_line=size_line, trailers=trailers)


def clean(random: Random, traffic: Traffic) -> Sequence:
    """Some good deliveries, and at times a bad one last: Envoy may close behind that."""
    deliveries = [traffic.without_body() if random.random() < 0.1 else traffic.good() for _ in range(random.choice([0, 1, 1, 2, 4]))]
    once = [delivery for delivery in deliveries if delivery.policy == "once"]
    copies = [Delivery(once[0].request.again(), Fate.NEVER, "once", once[0].target)] if once and random.random() < 0.5 else []
    last = copies or ([traffic.bad()] if not deliveries or random.random() < 0.5 else [])
    again = None if last else traffic.good()
    deliveries += last
    wire = b"".join(_well_framed(random, delivery) for delivery in deliveries)
    return Sequence("HTTP/1.1", deliveries, split(random, wire), statuses, awaited=dict(enumerate(deliveries)), pause=random.choice([0, 0, 0.001]),
                    again=again and (again, len(deliveries), head(again, length(again.request.body)) + again.request.body))


# What Envoy may take in one way or another, or refuse.


def _lying_length(random: Random, delivery: Delivery) -> bytes:
    body, size = delivery.request.body, len(delivery.request.body)
    values = random.choice([[size - 1], [size + 1], [0], [5], [size, size], [size, 5], [5, size], [f"{size}, {size}"], [f"{size}, 5"], [f"+{size}"], [f" {size}"], [f"-{size}"],
                            [hex(size)], [f"0{size}"], [f"{size}.0"], ["9" * 40], [""], [f"{size} {size}"], [f"{size}\t"], [f"{size}\0"], [size + 2**64]])
    return head(delivery, [(b"content-length", str(value).encode()) for value in values]) + body


def _both(random: Random, delivery: Delivery) -> bytes:
    """Two lengths at once: one as the signed body has it, and one of more or less."""
    body = delivery.request.body
    is_chunked = random.random() < 0.6
    wire = chunks(random, body) if is_chunked else body
    coding = random.choice([b"chunked", b"Chunked", b"chunked, identity", b"identity, chunked", b"xchunked", b" chunked", b"chunked\t", b"\x0bchunked", b"chunked, chunked", b"gzip, chunked",
                            b"identity", b"chunked;q=1", b"\"chunked\"", b"", b"chunke\x00d"])
    sizes = [(b"content-length", b"%d" % random.choice([len(wire), len(body), 0, 5, len(wire) + 50]))] * random.choice([0, 1, 1])
    names = random.choice([[b"transfer-encoding"], [b"Transfer-Encoding"], [b"transfer-encoding "], [b" transfer-encoding"], [b"transfer_encoding"], [b"x: y\r\n transfer-encoding"],
                           [b"x: y\ntransfer-encoding"], [b"transfer-encoding\t"], [b"x: y\rtransfer-encoding"], [b"transfer-encoding", b"transfer-encoding"]])
    framing = [*sizes, *((name, coding) for name in names)]
    random.shuffle(framing)
    return head(delivery, framing) + wire


def _bad_chunks(random: Random, delivery: Delivery) -> bytes:
    size_line = random.choice([
        lambda size: b"%x\n" % size, lambda size: b"0x%x\r\n" % size, lambda size: b"+%x\r\n" % size, lambda size: b"%x \r\n" % size, lambda size: b" %x\r\n" % size, lambda size: b"%020x\r\n" % size,
        lambda size: b"%x_\r\n" % size, lambda size: b"-%x\r\n" % size, lambda size: b"1%016x\r\n" % size, lambda size: b"%x;\n\r\n" % size, lambda size: b"%x;a=\"\r\n\"\r\n" % size,
        lambda size: b"%x\r\r\n" % size, lambda size: b"%x;%s\r\n" % (size, b"e" * 20_000), lambda size: b"%x\r\n" % (size + 1), lambda size: b"%x\r\n" % max(size - 1, 0), lambda size: b"\r\n%x\r\n" % size,
    ])
    trailers = random.choice([None, TRAILERS, [(b"a", b"b")] * 200, [(b"a b", b"c")], [(b" folded", b"c")], [(b"x", b"y" * 70_000)], [(b"transfer-encoding", b"chunked")]])
    wire = head(delivery, CHUNKED) + chunks(random, delivery.request.body, size_line=size_line, trailers=trailers)
    return wire[:-random.choice([1, 2, 2, 4])] if random.random() < 0.3 else wire


def _odd_head(random: Random, delivery: Delivery) -> bytes:
    body, host, target = delivery.request.body, delivery.request.host, delivery.request.target
    framing = length(body)
    name, value = random.choice([(b"x", b"a\r\n folded"), (b"x", b"a\n folded"), (b"x ", b"a"), (b"x y", b"a"), (b"x", b"a\0b"), (b"x", b"a\rb"), (b"", b"a"), (b"x\0", b"a"), (b"(x)", b"a"), (b"x\xff", b"a"),
                                 (b"host", b"example.org"), (b"host", host), (b"connection", b"close"), (b"connection", b"x-hub-signature-256"), (b"connection", b"host, content-length"),
                                 (b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"upgrade", b"websocket\r\nconnection: upgrade"), (b"te", b"trailers"), (b"expect", b"200-maybe"), (b"expect", b"100-continue"),
                                 (b"x", b"l" * 100_000), (b"x", b"y\r\nx: y" * 150), (b"proxy-connection", b"keep-alive"), (b"content-length", b""), (b":path", b"/admin"), (b":method", b"GET")])
    variants: list[Callable[[], bytes]] = [
        lambda: head(delivery, [*framing, (name, value)]), lambda: head(delivery, [(name, value), *framing]), lambda: head(delivery, framing, eol=b"\n"), lambda: head(delivery, framing, eol=b"\r\r\n"),
        lambda: b"\r\n" * random.choice([1, 2, 50]) + head(delivery, framing), lambda: b"\n" + head(delivery, framing), lambda: b" " + head(delivery, framing),
        lambda: head(delivery, framing, version=random.choice([b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"", b"HTTP/0.9", b"HTTP/1.1\0"])),
        lambda: head(delivery, framing, target=random.choice([
            b"http://" + host + target, b"HTTPS://" + host + target, b"http://example.org" + target, b"http://" + host + b"@example.org" + target, b"//" + host + target, b"http:" + target, b"http:///" + target,
            b"*", host + b":443", target + b"#fragment", target + b" /admin", b" " + target, target + b"\t", target[1:], b"http://" + host + b"?" + target, b"", b"\\hooks\\github", target + b"\0"])),
        lambda: head(delivery, framing, host=random.choice([b"", b" ", host + b"\r\nhost: example.org", host + b"/admin", b"http://" + host, host + b":99999", b"[::1]", b"%68ooks.example.com", host + b"#", host + b"?"])),
        lambda: head(delivery, framing).replace(b": ", random.choice([b":", b":\t", b" : ", b":  ", b":\r\n "])),
        lambda: head(delivery, framing)[:random.randrange(1, 400)], lambda: head(delivery, framing)[:-2], lambda: head(delivery, framing) + b"\r\n",
    ]
    return random.choice(variants)() + body


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
            wire[at:at] = random.choice([b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n", b"\r\ncontent-length: 3\r\n", b"0\r\n\r\n", random.randbytes(3)])
        else:
            wire[at:at] = wire[at:at + random.randrange(40)]
        wire = wire or bytearray(b"\n")
    return bytes(wire)


def twisted(random: Random, traffic: Traffic) -> Sequence:
    """Deliveries of policies with a signature: a token says nothing of the body, so that any body may come with it."""
    deliveries, wire = [], b""
    for _ in range(random.choice([1, 1, 2, 3])):
        framed = random.choice([_lying_length, _both, _bad_chunks, _odd_head, _mutated, _well_framed])
        # A form is signed without what stands between its parameters: changed in the right place it is still signed.
        delivery = traffic.forged() if random.random() < 0.3 else traffic.good(*(policy for policy in SIGNERS if policy != "form"))
        delivery.fate, delivery.target = Fate.MAY if delivery.fate is Fate.MUST else delivery.fate, b""
        deliveries.append(delivery)
        wire += framed(random, delivery)
        if random.random() < 0.2:
            wire += random.choice([random.randbytes(20), b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /admin\r\n", b"0\r\n\r\n", b"X" * 5])
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
    return Sequence("HTTP/1.1", [delivery], split(random, wire), statuses, end=random.choice([End.HALF_CLOSE, End.CLOSE, End.RESET]), pause=random.choice([0, 0.001]))
