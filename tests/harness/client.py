"""Clients that send exactly what a test says: HTTP/1.1 over a bare socket, HTTP/2 with prior knowledge over h2.

Ordinary clients tidy requests up (merge headers, refuse odd bytes, choose the framing), and what they tidy away is
what an attacker sends. So nothing is validated here, and nothing is added but the framing that was asked for. The
client knows nothing of webhooks.
"""

import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import h2.config
import h2.connection
import h2.events

Headers = list[tuple[bytes, bytes]]
TIMEOUT = 20.0
_serial = itertools.count(1)


@dataclass(frozen=True)
class Request:
    """A request without its framing. `test_id` travels as a header, so that its access-log record can be found."""

    target: bytes
    headers: Headers
    body: bytes = b""
    method: bytes = b"POST"
    host: bytes = b"hooks.example.com"
    test_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "test_id", self.test_id or f"t{next(_serial)}")

    def again(self, **changes: object) -> "Request":
        """The same request, changed, under a new test id."""
        return replace(self, test_id="", **changes)

    @property
    def all_headers(self) -> Headers:
        return [(b"x-test-id", self.test_id.encode()), *self.headers]


@dataclass(frozen=True)
class Response:
    """Status 0 means that the stream or connection ended without any response."""

    status: int
    headers: Headers
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]


Send = Callable[[int, Request], Response]


# HTTP/1.1


def h1_length(port: int, request: Request, *, source: str = "", tls: ssl.SSLContext | None = None) -> Response:
    return h1(port, request, [(b"content-length", b"%d" % len(request.body))], [request.body], source=source, tls=tls)


def h1_bare(port: int, request: Request) -> Response:
    """Neither content-length nor transfer-encoding: a request that ends with its head."""
    return h1(port, request, [], [])


def h1_pieces(port: int, request: Request) -> Response:
    """One byte per TCP segment, the first of them in a segment of its own after the head."""
    return h1(port, request, [(b"content-length", b"%d" % len(request.body))], _bytewise(request.body), pause=0.0005)


def h1_expect(port: int, request: Request) -> Response:
    return h1(port, request, [(b"content-length", b"%d" % len(request.body)), (b"expect", b"100-continue")], [request.body])


def h1_slow(port: int, request: Request, *, delay: float) -> Response:
    """The head at once, the body only after `delay` seconds."""
    return h1(port, request, [(b"content-length", b"%d" % len(request.body))], [request.body], pause=delay)


def h1_proxied(port: int, request: Request, *, source: str) -> Response:
    """By way of a load balancer that speaks the PROXY protocol and says where the request comes from."""
    family, destination = ("TCP6", "2001:db8::1") if ":" in source else ("TCP4", "192.0.2.1")
    head = _head(request, [(b"content-length", b"%d" % len(request.body))])
    return raw(port, [f"PROXY {family} {source} {destination} 5555 443\r\n".encode() + head, request.body])


def h1_chunked(port: int, request: Request, *, sizes: Iterable[int] = (7, 1, 4096), trailers: Headers | None = None) -> Response:
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in _split(request.body, sizes)]
    end = b"0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in trailers or []) + b"\r\n"
    return h1(port, request, [(b"transfer-encoding", b"chunked")], [*parts, end])


def h1(port: int, request: Request, framing: Headers, parts: Iterable[bytes], *, pause: float = 0, source: str = "",
       tls: ssl.SSLContext | None = None) -> Response:
    """Sends the head, then each part, sleeping `pause` before each."""
    return raw(port, itertools.chain([_head(request, framing)], parts), pause=pause, source=source, tls=tls)


def leave(port: int, request: Request, framing: Headers, part: bytes) -> None:
    """Sends the head and a part of the body, and hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(_head(request, framing) + part)


def raw(port: int, parts: Iterable[bytes], *, pause: float = 0, source: str = "", tls: ssl.SSLContext | None = None) -> Response:
    """`source` is the local address to send from; any that is a host's own will do."""
    with _connect(port, source, tls) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for index, part in enumerate(parts):
                if index:
                    time.sleep(pause)
                connection.sendall(part)
        except OSError:
            pass  # Envoy may answer and close before it has read all; the answer is what counts
        return _read_h1(connection)


def _connect(port: int, source: str = "", tls: ssl.SSLContext | None = None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT, source_address=(source, 0))
    return connection if tls is None else tls.wrap_socket(connection, server_hostname="localhost")


def _head(request: Request, framing: Headers) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method, request.target), b"host: " + request.host]
    lines += [b"%s: %s" % pair for pair in [*request.all_headers, *framing]]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _read_h1(connection: socket.socket) -> Response:
    data = b""
    while True:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100 ") and blank:
            data = rest  # Envoy's own answer to Expect, before any filter has run
            continue
        if blank and (response := _complete(head, rest)):
            return response
        try:
            more = connection.recv(65536)
        except (ConnectionError, ssl.SSLError):  # an alert is read where the answer would be
            more = b""
        if not more:
            return Response(0, [], data)
        data += more


def _complete(head: bytes, rest: bytes) -> Response | None:
    status_line, *lines = head.split(b"\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    response = Response(int(status_line.split(b" ")[1]), headers, rest)
    length = int((response.values("content-length") or ["0"])[0])
    return response if len(rest) >= length else None


# HTTP/2


def h2_send(port: int, request: Request, *, frame: int = 16384, trailers: Headers | None = None,
            end_with_empty_data: bool = False, pseudo: Headers | None = None, tls: ssl.SSLContext | None = None) -> Response:
    """One HTTP/2 request: DATA frames of at most `frame` bytes, then the trailers, if any.

    `end_with_empty_data` puts END_STREAM on an empty DATA frame of its own. `pseudo` replaces the pseudo-headers.
    """
    with _Stream(port, tls) as stream:
        headers = pseudo or [(b":method", request.method), (b":scheme", b"https" if tls else b"http"),
                             (b":authority", request.host), (b":path", request.target)]
        parts = list(_split(request.body, itertools.repeat(frame))) + [b""] * end_with_empty_data
        stream.headers([*headers, *request.all_headers], end=not parts and not trailers)
        for index, part in enumerate(parts):
            stream.data(part, end=index == len(parts) - 1 and not trailers)
        if trailers:
            stream.headers(trailers, end=True)
        return stream.response()


class _Stream:
    """One connection with one stream on it."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        # Everything that would tidy up or refuse what the test wants sent is off.
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=False))
        self._socket = _connect(port, tls=tls)
        self._status, self._headers, self._body = 0, [], b""
        self._ended = False
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def headers(self, headers: Headers, *, end: bool) -> None:
        if not self._ended:
            self._h2.send_headers(1, headers, end_stream=end)
            self._flush()

    def data(self, data: bytes, *, end: bool) -> None:
        while not self._ended and data and self._h2.local_flow_control_window(1) < len(data):
            self._receive()
        if not self._ended:
            self._h2.send_data(1, data, end_stream=end)
            self._flush()

    def response(self) -> Response:
        while not self._ended:
            self._receive()
        return Response(self._status, self._headers, self._body)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        events = self._h2.receive_data(data) if data else [h2.events.ConnectionTerminated()]
        for event in events:
            self._on(event)
        self._flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._status = int(dict(event.headers)[b":status"])
            self._headers = [(name, value) for name, value in event.headers if not name.startswith(b":")]
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
            self._ended = True

    def _flush(self) -> None:
        try:
            self._socket.sendall(self._h2.data_to_send())
        except OSError:
            pass  # the peer is gone; what it sent before can still be read


def _bytewise(body: bytes) -> Iterable[bytes]:
    return _split(body, itertools.repeat(1))


def _split(body: bytes, sizes: Iterable[int]) -> Iterable[bytes]:
    """Pieces of the given sizes; the last size repeats until the body is used up."""
    sizes, size, start = iter(sizes), 1, 0
    while start < len(body):
        size = next(sizes, size)
        yield body[start:start + size]
        start += size


TRAILERS: Headers = [(b"x-checksum", b"abc"), (b"x-hub-signature-256", b"sha256=" + b"0" * 64)]

# Every way a body can be framed. The verdict may not depend on which (promise 6). The trailers carry a signature of
# their own, which nobody may take for the one that counts.
FRAMINGS: dict[str, Send] = {
    "h1-length": h1_length,
    "h1-chunked": h1_chunked,
    "h1-chunked-trailers": partial(h1_chunked, trailers=TRAILERS),
    "h1-pieces": h1_pieces,
    "h1-expect-continue": h1_expect,
    "h2": h2_send,
    "h2-small-frames": partial(h2_send, frame=11),
    "h2-empty-end": partial(h2_send, end_with_empty_data=True),
    "h2-trailers": partial(h2_send, trailers=TRAILERS),
}

# The framings of a request without a body: the head alone, or an empty body that still has to be waited for.
EMPTY_FRAMINGS: dict[str, Send] = {
    "h1-bare": h1_bare,
    "h1-length-0": h1_length,
    "h1-chunked-empty": h1_chunked,
    "h1-chunked-empty-trailers": partial(h1_chunked, trailers=TRAILERS),
    "h2-head-only": h2_send,
    "h2-empty-data": partial(h2_send, end_with_empty_data=True),
    "h2-head-trailers": partial(h2_send, trailers=TRAILERS),
}
