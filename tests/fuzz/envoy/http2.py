"""Sequences of HTTP/2: streams between one another on one connection, of frames that a client may send, and of frames that none may.

Responsible for bytes. Nothing is read before all is written, so that the bytes are all there is to a sequence; flow control is kept by sending
no more than a client may before it has heard anything.
"""

import re
from random import Random

import hpack
from harness.client import TRAILERS, Headers
from harness.streams import ACK, CONTINUATION, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, frame, frame_head

from fuzz.envoy.sequence import End, Sequence, split
from fuzz.envoy.traffic import FIRM, HOST, Delivery, Fate, Traffic

DATA, PRIORITY, RST_STREAM, PUSH_PROMISE, WINDOW_UPDATE = 0, 2, 3, 5, 8
END_STREAM, PADDED, WITH_PRIORITY = 1, 8, 32
MOST_DATA, MOST_PADDING = 60_000, 256
# A step of a stream: a block of headers, or a part of the body, with END_STREAM or without; or a frame as it is, of which the stream is filled in.
Step = tuple[str, object, bool]


class Writer:
    """The client's half of one connection."""

    def __init__(self, random: Random, settings: bytes = b"") -> None:
        self._random, self._encoder = random, hpack.Encoder()
        self.wire = PREFACE + frame(SETTINGS, 0, 0, settings)
        self._next = 1

    def stream(self) -> int:
        self._next += 2
        return self._next - 2

    def step(self, stream: int, step: Step) -> None:
        kind, content, is_last = step
        if kind == "headers":
            self.wire += self._block(stream, content, END_STREAM * is_last)
        elif kind == "data":
            self.wire += self._padded(DATA, END_STREAM * is_last, stream, content)
        else:
            self.wire += frame(kind, 0, stream, content)

    def _block(self, stream: int, headers: Headers, flags: int) -> bytes:
        tuples = [self._random.choice([hpack.HeaderTuple, hpack.NeverIndexedHeaderTuple])(*pair) for pair in headers]
        block = self._encoder.encode(tuples, huffman=self._random.random() < 0.5)
        chosen = [self._random.randrange(1, len(block)) for _ in range(self._random.choice([0, 0, 1, 4]))]
        cuts = sorted({0, *chosen, *range(0, len(block), 16_000)})
        parts = [block[start:end] for start, end in zip(cuts, [*cuts[1:], len(block)], strict=True)]
        first = parts[0]
        if self._random.random() < 0.2:
            flags, first = flags | WITH_PRIORITY, b"\0\0\0\0" + bytes([self._random.randrange(256)]) + first
        frames = [self._padded(HEADERS, flags | END_HEADERS * (len(parts) == 1), stream, first)]
        for index, part in enumerate(parts[1:], 2):
            frames.append(frame(CONTINUATION, END_HEADERS * (index == len(parts)), stream, part))
        return b"".join(frames)

    def _padded(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if self._random.random() < 0.2:
            padding = self._random.choice([0, 1, 100, 255])
            flags, payload = flags | PADDED, bytes([padding]) + payload + bytes(padding)
        return frame(kind, flags, stream, payload)


def _head(delivery: Delivery, *more: tuple[bytes, bytes]) -> Headers:
    request = delivery.request
    pseudo = [(b":method", request.method), (b":scheme", b"http"), (b":authority", request.host), (b":path", request.target)]
    return [*pseudo, *request.all_headers, *more]


def _steps(random: Random, delivery: Delivery) -> list[Step]:
    """A request as a client may send it."""
    body, steps = delivery.request.body, []
    with_trailers = random.random() < 0.3
    declared = [(b"content-length", b"%d" % len(body))] if random.random() < 0.5 else []
    steps.append(("headers", _head(delivery, *declared), not body and not with_trailers))
    start = 0
    while start < len(body):
        part = body[start:start + random.choice([1, 10, 100, 16_000])] if len(body) < 2000 else body[start:start + 16_000]
        start += len(part)
        steps.append(("data", part, start == len(body) and not with_trailers))
    if with_trailers:
        steps.append(("headers", TRAILERS, True))
    if random.random() < 0.6:
        odd = random.choice([(PRIORITY, b"\0\0\0\0\x10"), (WINDOW_UPDATE, b"\0\0\x10\0"), (0xBE, b"a frame of no known type")])
        steps.insert(random.randrange(1, len(steps) + 1), (*odd, False))
    return steps


def _leaves_the_others(delivery: Delivery) -> bool:
    """Whether it is no breach of the protocol itself, for which Envoy closes the connection with all that is on it."""
    return bool(re.fullmatch(rb"[\w.]+", delivery.request.host) and re.fullmatch(rb"[!-\[\]-~]+", delivery.request.target))


def _interleave(random: Random, writer: Writer, streams: list[list[Step]], poison: bytes = b"") -> list[int]:
    """Writes all steps, each stream's in their order; returns the number of each stream."""
    numbers: list[int] = [0] * len(streams)
    waiting = [index for index, steps in enumerate(streams) for _ in steps]
    random.shuffle(waiting)
    if random.random() < 0.3:
        waiting.sort()  # one after the other
    poisoned = random.randrange(len(waiting) + 1) if poison else -1
    positions = [0] * len(streams)
    for turn, index in enumerate(waiting):
        if turn == poisoned:
            writer.wire += poison
        numbers[index] = numbers[index] or writer.stream()
        writer.step(numbers[index], streams[index][positions[index]])
        positions[index] += 1
    if poisoned == len(waiting):
        writer.wire += poison
    return numbers


def statuses(received: bytes) -> dict[int, int]:
    """The final status of each stream that has one, and 0 for each that was reset without one."""
    decoder, found, block = hpack.Decoder(), {}, b""
    while len(received) >= 9:
        size, kind, flags, stream = frame_head(received[:9])
        payload, received = received[9:9 + size], received[9 + size:]
        if len(payload) < size:
            break
        if kind in (HEADERS, CONTINUATION):
            block += payload
            if flags & END_HEADERS:
                status = dict(decoder.decode(block, raw=True)).get(b":status")
                found[stream] = int(status) if status else found.get(stream, 0)
                block = b""
        elif kind == RST_STREAM:
            found.setdefault(stream, 0)
    return found


def clean(random: Random, traffic: Traffic) -> Sequence:
    """Good deliveries beside bad ones and beside streams that are given up: all of the good have to pass."""
    writer, room = Writer(random), MOST_DATA
    deliveries, streams = [], []
    for _ in range(random.choice([1, 2, 3, 6])):
        kind = random.random()
        delivery = traffic.without_body() if kind < 0.1 else traffic.bad() if kind < 0.35 else traffic.good()
        steps = _steps(random, delivery)
        size = sum(len(content) + MOST_PADDING for name, content, _ in steps if name == "data")
        if size > room or not _leaves_the_others(delivery):
            continue
        room -= size
        if kind > 0.9 and len(steps) > 1:
            # Before its end, and so for nobody to pass on; a token's may have begun.
            steps = [*steps[:random.randrange(1, len(steps))], (RST_STREAM, b"\0\0\0\x08", False)]
            delivery.fate = Fate.MAY
        deliveries.append(delivery)
        streams.append(steps)
    numbers = _interleave(random, writer, streams)
    awaited = {number: one for number, one in zip(numbers, deliveries, strict=True) if one.fate is not Fate.MAY}
    # Of less than the whole preface Envoy takes the connection for HTTP/1.1.
    pieces = split(random, writer.wire, len(PREFACE))
    again = traffic.good(size=100)
    writer.wire, stream = b"", writer.stream()
    writer.step(stream, ("headers", _head(again), False))
    writer.step(stream, ("data", again.request.body, True))
    return Sequence("HTTP/2", deliveries, pieces, statuses, awaited=awaited, again=(again, stream, writer.wire),
                    pause=random.choice([0, 0, 0.001]))


# What no client may send.


SMUGGLED = b"POST /hooks/github HTTP/1.1\r\nhost: hooks.example.com\r\ncontent-length: 0\r\n\r\n"
ODD_HEADERS: Headers = [
    (b"content-length", b"0"), (b"content-length", b"10"), (b"content-length", b"10000"), (b"content-length", b"-1"), (b"content-length", b"5, 5"),
    (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"te", b"gzip"), (b"upgrade", b"websocket"), (b"expect", b"100-continue"),
    (b"X-Upper", b"a"), (b"x y", b"a"), (b"x:", b"a"), (b"", b"a"), (b"x\r\ny", b"a"), (b"x", b"a\nb"), (b"x", b"a\0b"), (b"x", b" a "),
    (b"x", b"a\r\ntransfer-encoding: chunked"), (b"x", b"a\r\n\r\n" + SMUGGLED), (b"x", b"l" * 100_000), (b"cookie", b"a=b"),
    (b":path", b"/admin"), (b":status", b"200"), (b":protocol", b"websocket"), (b"host", b"example.org"), (b"host", HOST),
    (b"x-webhook-guard-verdict", b"verified"),
]
PSEUDO = [b":path", b":method", b":scheme", b":authority"]
# Settings that leave Envoy little room for its answers, or that none may send.
ODD_SETTINGS = [b"", b"", b"\0\x04\0\0\0\0", b"\0\x02\0\0\0\0", b"\0\x08\0\0\0\x01", b"\0\x03\0\0\0\x01",
                b"\0\x05\0\xff\xff\xff", b"\xff\xff\0\0\0\0"]
# Frames between the streams, which no connection has to survive.
POISON = [
    frame(DATA, END_STREAM, 0, b"x"), frame(DATA, PADDED, 1, b"\xff"), frame(DATA, 0, 1, b"x" * 20_000),
    frame(HEADERS, END_HEADERS, 0, b"\x82"), frame(HEADERS, END_HEADERS, 2, b"\x82"), frame(HEADERS, 0, 101, b"\x82"),
    frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\xff\xff\x0f"),
    frame(HEADERS, 0, 103, b"\x82") + frame(CONTINUATION, 0, 103, b"") * 200, frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
    frame(SETTINGS, ACK, 0, b""), frame(SETTINGS, 0, 0, b"\0"), frame(SETTINGS, 0, 1, b""), frame(SETTINGS, 0, 0, b"\0\x01\0\0\0\0"),
    frame(SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"), frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"), frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\0") * 50,
    frame(WINDOW_UPDATE, 0, 0, bytes(4)), frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    frame(PING, 0, 0, b"short"), frame(PING, 0, 0, b"8 bytes!"), frame(PING, 0, 0, b"8 bytes!") * 300, frame(GOAWAY, 0, 0, bytes(8)),
    frame(RST_STREAM, 0, 99, bytes(4)), frame(RST_STREAM, 0, 1, bytes(3)), frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02\x82"),
    b"\xff" * 9, b"GET / HTTP/1.1\r\n\r\n", PREFACE, b"\0\0\x05\x63\x07\x80\0\0\x01hello",
]


def _odd_pseudo(target: bytes) -> list[tuple[bytes, bytes]]:
    paths = [b"", target[1:], b"*", b"http://" + HOST + target, target + b" HTTP/1.1\r\nx: y", target + b"#x", target + b"\0", target + b" x",
             b"//" + HOST + target]
    return [
        *((b":path", path) for path in paths), (b":method", b"CONNECT"), (b":method", b"POST /admin HTTP/1.1\r\nx: y"), (b":method", b""),
        (b":method", b"GET"), (b":scheme", b""), (b":scheme", b"https"), (b":scheme", b"http://example.org/"), (b":authority", b""),
        (b":authority", b"example.org"), (b":authority", HOST + b"\r\nx: y"), (b":authority", b"a@" + HOST)]


def _malformed(random: Random, delivery: Delivery) -> list[Step]:
    """One wrong thing about the headers, the trailers or the frames of a stream."""
    head, added, missing = _head(delivery), random.choice(ODD_HEADERS), random.choice(PSEUDO)
    name, odd = random.choice(_odd_pseudo(delivery.request.target))
    begins, part, ends = ("headers", head, False), ("data", delivery.request.body, False), ("data", delivery.request.body, True)
    if random.random() < 0.4:
        headers = random.choice([
            [*head, added], [*head[:4], added, *head[4:]], [added, *head], [*head[4:], *head[:4]],
            [pair for pair in head if pair[0] != missing], [(key, odd if key == name else value) for key, value in head]])
        return [("headers", headers, False), ends]
    kind = random.choice([DATA, HEADERS, PRIORITY, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, 10, 255])
    return random.choice([
        [begins, part, ("headers", [*TRAILERS, added], True)],
        [begins, part, ("headers", TRAILERS, False), ("data", b"x", True)],
        [begins, ends, ("data", b"x", True)],
        [("headers", head, True), ends],
        [begins, begins, ends],
        [part, begins, ends],
        [begins, *[("data", b"", False)] * random.choice([1, 2, 50]), ends],
        [begins, part, (RST_STREAM, b"\0\0\0\x08", False), ("data", b"", True)],
        [begins, (WINDOW_UPDATE, random.choice([bytes(4), b"\x7f\xff\xff\xff", b"\0"]), False), ends],
        [begins, ends, (PRIORITY, b"\0\0\0\x01\x10", False), *[(PRIORITY, b"\0\0\0\0\x10", False)] * random.choice([0, 200])],
        [begins, (kind, random.randbytes(random.choice([0, 4, 5, 8, 30])), False), ends],
    ])


def twisted(random: Random, traffic: Traffic) -> Sequence:
    """Of policies with a signature alone, as in HTTP/1.1."""
    settings = random.choice(ODD_SETTINGS)
    writer, deliveries, streams = Writer(random, settings), [], []
    for _ in range(random.choice([1, 2, 3, 5])):
        delivery = traffic.forged() if random.random() < 0.3 else traffic.good(*FIRM)
        delivery.fate, delivery.target = Fate.MAY if delivery.fate is Fate.MUST else delivery.fate, b""
        deliveries.append(delivery)
        streams.append(random.choice([_malformed, _malformed, _steps])(random, delivery))
    _interleave(random, writer, streams, random.choice(POISON) if random.random() < 0.4 else b"")
    wire = bytearray(writer.wire)
    if random.random() < 0.2:
        wire[random.randrange(24, len(wire))] ^= 1 << random.randrange(8)
    if random.random() < 0.2:
        wire = wire[:random.randrange(1, len(wire) + 1)]
    end = random.choice([End.READ, End.READ, End.READ, End.HALF_CLOSE, End.CLOSE, End.RESET])
    return Sequence("HTTP/2", deliveries, split(random, bytes(wire)), statuses, end=end, pause=random.choice([0, 0, 0.001]))
