"""The upstream of a security test: a raw TCP server that counts connections and every single byte.

It understands just enough HTTP/1.1 (content-length and chunked) to find the end of a request and to answer 200 with
keep-alive, so that Envoy's connection pool stays warm: several leaks show only on a warm pool. It keeps the raw
bytes, because "arrived byte-identical" cannot be judged on parsed values. It never judges a request. Where a test needs
another answer than 200, `answer` gives it.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.listener import Listener

Answer = Callable[[socket.socket, "Request"], None]
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\ncontent-type: text/plain\r\n\r\nupstream"


@dataclass(frozen=True)
class Request:
    """One request as it stood on the wire; `body` is the payload without chunk framing, `size` what both took with it."""

    head: bytes
    body: bytes
    size: int = 0

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def values(self, name: str) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower().encode()]


@dataclass(frozen=True)
class Count:
    """What an upstream has seen, at one moment or between two."""

    bytes: int
    connections: int
    requests: int


@dataclass
class Upstream(Listener):
    requests: list[Request] = field(default_factory=list)
    bytes_received: int = 0
    connections: int = 0
    answer: Answer = lambda connection, _: connection.sendall(REPLY)  # noqa: E731  (a field, not a method)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def mark(self) -> Count:
        with self._lock:
            return Count(self.bytes_received, self.connections, len(self.requests))

    def delta(self, since: Count) -> Count:
        seen = self.mark()
        return Count(seen.bytes - since.bytes, seen.connections - since.connections, seen.requests - since.requests)

    def accepted(self) -> None:
        with self._lock:
            self.connections += 1

    def received(self, request: Request) -> None:
        """A request has come whole, and is not answered yet."""
        with self._lock:
            self.requests.append(request)

    def broken_off(self, rest: bytes) -> None:
        """A connection has ended, or what came is no request; `rest` is what was not taken for one."""

    def serve(self, connection: socket.socket) -> None:
        wire = _Wire(connection, self._count)
        with connection:
            try:
                while True:
                    request = wire.request()
                    self.received(request)
                    self.answer(connection, request)
            except (EOFError, OSError, ValueError):
                self.broken_off(wire.unfinished)

    def _count(self, size: int) -> None:
        with self._lock:
            self.bytes_received += size


class _Wire:
    """Reads requests off one connection, telling `count` of every byte the moment it arrives."""

    def __init__(self, connection: socket.socket, count) -> None:
        self._connection, self._count, self._buffer, self._taken = connection, count, b"", b""

    @property
    def unfinished(self) -> bytes:
        """What has come of a request that is not whole."""
        return self._taken + self._buffer

    def request(self) -> Request:
        head = self._until(b"\r\n\r\n")
        request = Request(head, b"")
        is_chunked = request.values("transfer-encoding")
        body = self._chunked() if is_chunked else self._exactly(int((request.values("content-length") or [b"0"])[0]))
        size, self._taken = len(self._taken), b""
        return Request(head, body, size)

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            self._exactly(2)
        while self._until(b"\r\n") != b"\r\n":  # trailers
            pass
        return body

    def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            self._fill()
        return self._take(end + len(mark))

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        self._taken += taken
        return taken

    def _fill(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise EOFError
        self._count(len(data))
        self._buffer += data
