"""Many HTTP/2 streams on one connection, opened and left as an attacker leaves them.

`client` sends one request and waits for its answer; here requests are opened, fed, ended or given up in any order, and
`settle` says when Envoy has seen all that was sent: it answers a PING only after the frames before it. `repeat` opens
thousands of streams that refer to one long header by its HPACK index, so that each costs the sender some 100 bytes. What
a request says is for the tests to choose.
"""

import socket
import struct

import h2.config
import h2.connection
import h2.events
import hpack

from harness.client import TIMEOUT, Headers, Request, Response

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, GOAWAY, CONTINUATION = 1, 4, 6, 7, 9
ACK, END_HEADERS = 1, 4


class Streams:
    """One connection, as a context manager. `answers` has the responses that are complete, by stream."""

    def __init__(self, port: int) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=False))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parts: dict[int, Response] = {}
        self.answers: dict[int, Response] = {}
        self._pongs = 0
        self._h2.initiate_connection()
        self.settle()

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up, whatever is open."""
        self._socket.close()

    def open(self, request: Request, *, end: bool = False) -> int:
        """Sends the head of a request, and its stream is what the other methods want to know."""
        stream = self._h2.get_next_available_stream_id()
        headers = [(b":method", request.method), (b":scheme", b"http"), (b":authority", request.host), (b":path", request.target)]
        self._h2.send_headers(stream, [*headers, *request.all_headers], end_stream=end)
        self._flush()
        return stream

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends a part of a body, as fast as Envoy's windows admit."""
        start = 0
        while start < len(data) or (end and not data):
            window = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if data and window <= 0:
                self._receive()
                continue
            part = data[start:start + window] if data else b""
            start += len(part)
            self._h2.send_data(stream, part, end_stream=end and start >= len(data))
            self._flush()
            if not data:
                return

    def trailers(self, stream: int, trailers: Headers) -> None:
        self._h2.send_headers(stream, trailers, end_stream=True)
        self._flush()

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream)
        self._flush()

    def settle(self) -> None:
        """Until Envoy has dealt with all that was sent."""
        wanted = self._pongs + 1
        self._h2.ping(b"settled?")
        self._flush()
        while self._pongs < wanted:
            self._receive()

    def answer(self, stream: int) -> Response:
        """The answer, when it is complete; status 0 where there was none."""
        while stream not in self.answers:
            self._receive()
        return self.answers[stream]

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise AssertionError("Envoy has closed the connection")
        for event in self._h2.receive_data(data):
            self._on(event)
        self._flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self._pongs += 1
        elif isinstance(event, h2.events.ResponseReceived):
            headers = [(name, value) for name, value in event.headers if not name.startswith(b":")]
            self._parts[event.stream_id] = Response(int(dict(event.headers)[b":status"]), headers, b"")
        elif isinstance(event, h2.events.DataReceived):
            part = self._parts[event.stream_id]
            self._parts[event.stream_id] = Response(part.status, part.headers, part.body + event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.answers.setdefault(event.stream_id, self._parts.pop(event.stream_id, Response(0, [], b"")))

    def _flush(self) -> None:
        try:
            self._socket.sendall(self._h2.data_to_send())
        except OSError:
            pass  # the peer is gone; what it sent before can still be read


class Repeated:
    """One connection with the same request over and over, none of which ends.

    The header `long` is sent whole once, into the table of HPACK, and by its index from then on; one that is longer than
    the table is sent whole each time. `answered` counts the responses.
    """

    def __init__(self, port: int, request: Request, long: tuple[bytes, bytes]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        encoder = hpack.Encoder()
        plain = [(b":method", request.method), (b":scheme", b"http"), (b":authority", request.host),
                 (b":path", request.target), *request.headers]
        # Never indexed: the table has room for the long one alone.
        headers = [*(hpack.NeverIndexedHeaderTuple(*pair) for pair in plain), hpack.HeaderTuple(*long)]
        self._first = encoder.encode(headers)
        self._again = encoder.encode(headers)
        self._reader = self._socket.makefile("rb", 1 << 16)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        self._next = 1
        self.answered = 0
        self.sent = 0

    def open(self, count: int) -> None:
        """Opens so many streams, and returns when Envoy has seen them all or has hung up, as it does where it has to
        refuse a thousand at once."""
        blocks = [self._first if self._next == 1 and index == 0 else self._again for index in range(count)]
        frames = []
        for block in blocks:
            frames.append(_headers(self._next, block))
            self._next += 2
        wire = b"".join(frames) + frame(PING, 0, 0, b"settled?")
        self.sent += len(wire)
        try:
            self._socket.sendall(wire)
            self._await_pong()
        except ConnectionError:
            pass

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def _await_pong(self) -> None:
        while True:
            length, kind, flags, _ = frame_head(self._exactly(9))
            payload = self._exactly(length)
            self.answered += kind == HEADERS
            if kind == SETTINGS and not flags & ACK:
                self._socket.sendall(frame(SETTINGS, ACK, 0, b""))
            if kind == GOAWAY or (kind == PING and flags & ACK and payload == b"settled?"):
                return

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise ConnectionResetError
        return data


def _headers(stream: int, block: bytes) -> bytes:
    """A HEADERS frame, and CONTINUATIONs where the block needs them."""
    parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
    frames = [frame(HEADERS if index == 0 else CONTINUATION, END_HEADERS * (index == len(parts) - 1), stream, part)
              for index, part in enumerate(parts)]
    return b"".join(frames)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frame_head(head: bytes) -> tuple[int, int, int, int]:
    kind, flags, stream = struct.unpack(">BBI", head[3:])
    return int.from_bytes(head[:3], "big"), kind, flags, stream
