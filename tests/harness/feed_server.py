"""A provider that publishes its addresses: an HTTPS server, and the Envoy cluster that leads to it.

Responsible for answering each request as a test says, which may be no answer at all, and for what was asked.
"""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from harness import certificates
from harness.listener import Listener

HOST = "feeds.example.com"
Answer = Callable[[ssl.SSLSocket], None]


def respond(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> Answer:
    """An answer with that body; `length` is what it declares where that is not the truth."""
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers, "connection: close"]
    return lambda connection: connection.sendall("\r\n".join([*head, "", ""]).encode() + body)


def chunked(body: bytes, *, is_whole: bool = True, size: int = 10_000) -> Answer:
    """The body in chunks; without its end where it is not whole."""
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if is_whole else b"")
    return lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n" + framed)


class FeedServer(Listener):
    """An HTTPS server, as a context manager. `answer` can be changed while it runs; `requests` are the heads that came."""

    def __init__(self, directory: Path, *, host: str = HOST, is_expired: bool = False) -> None:
        authority = certificates.make("an authority of feeds", is_authority=True)
        own = certificates.make(host, authority, dns=(host,), is_expired=is_expired)
        self.authority = directory / "ca.pem"
        self.authority.write_text(authority.pem)
        file = directory / "server.pem"
        file.write_text(own.pem + own.key_pem)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(file)
        self.answer: Answer = respond(b"", "404 Not Found")
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []

    def cluster(self, name: str) -> dict:
        """The cluster that leads there and verifies the certificate, as envoy/feeds/ has it."""
        validation = {"trusted_ca": {"filename": str(self.authority)},
                      "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": HOST}}]}
        tls = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
               "sni": HOST, "common_tls_context": {"validation_context": validation}}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        return {"name": name, "type": "STATIC", "connect_timeout": "2s",
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}

    def serve(self, raw: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(raw, server_side=True) as connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    head += piece
                self.requests.append(head.decode())
                path = head.split(b" ", 2)[1].decode()
                self.answers.get(path, self.answer)(connection)
        except OSError:
            return  # the host hung up, or refused the certificate
