"""`webhook-guard addresses` against a provider with TLS, through a proxy as the environment names it."""

import json
import socket
import threading

import pytest

from harness import program
from harness.feed_server import FeedServer, respond
from harness.listener import Listener

GITHUB = "api.github.com"
LIST = {"hooks": ["192.30.252.0/22", "2a0a:a440::/29"], "web": ["0.0.0.0/0"]}


class Proxy(Listener):
    """An HTTP proxy that leads every CONNECT to one port, as a context manager; `asked` is what it was asked for."""

    def __init__(self, port: int) -> None:
        self._target, self.asked = port, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self._target)) as server:
            head = b""
            while b"\r\n\r\n" not in head:  # which comes in as many pieces as the client likes
                if not (piece := connection.recv(65536)):
                    return
                head += piece
            self.asked.append(head.split(b"\r\n")[0].decode())
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=_copy, args=(server, connection), daemon=True).start()
            _copy(connection, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def server(tmp_path):
    with FeedServer(tmp_path, host=GITHUB) as server:
        server.answer = respond(json.dumps(LIST).encode())
        yield server


def addresses(server: FeedServer, *arguments: str, **more: str):
    with Proxy(server.port) as proxy:
        env = {"SSL_CERT_FILE": str(server.authority), "HTTPS_PROXY": proxy.url} | more
        run = program.run("addresses", *arguments, env=env)
    return run, proxy.asked


def test_it_is_fetched_with_tls_verified_through_the_proxy_of_the_environment(server):
    run, asked = addresses(server, "github")
    assert (run.returncode, json.loads(run.stdout)) == (0, LIST["hooks"]), run
    assert asked == [f"CONNECT {GITHUB}:443 HTTP/1.1"]
    assert server.requests[0].startswith("GET /meta HTTP/1.1\r\n")
    assert "user-agent: webhook-guard\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("host, is_expired, said", [("other.example.com", False, "certificate"), (GITHUB, True, "certificate")], ids=["another name", "expired"])
def test_a_certificate_that_does_not_verify_is_no_answer(tmp_path, host, is_expired, said):
    with FeedServer(tmp_path, host=host, is_expired=is_expired) as server:
        run, _ = addresses(server, "github")
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr and "api.github.com/meta: " in run.stderr, run.stderr
    assert server.requests == []


def test_an_unknown_authority_is_no_answer(server, tmp_path):
    (tmp_path / "other").mkdir()
    with FeedServer(tmp_path / "other") as other:
        run, _ = addresses(server, "github", SSL_CERT_FILE=str(other.authority))
    assert (run.returncode, run.stdout, server.requests) == (2, "", []), run.stderr


@pytest.mark.parametrize("answer, said", [
    (respond(b"", "404 Not Found"), "the answer has the status 404"),
    (respond(b"", "302 Found", f"location: https://{GITHUB}/other"), "the answer is a redirect (302), which is not followed"),
    (respond(b"<html>"), "the answer is not JSON: after 0 bytes"),
    (respond(b'{"hooks": ["0.0.0.0/0"]}'), '"0.0.0.0/0" covers more than any provider sends from'),
    (respond(b" " * (9 << 20)), "the answer has more than 8 MiB"),
])
def test_what_the_gateway_would_not_take_is_not_printed(server, answer, said):
    server.answer = answer
    run, _ = addresses(server, "github")
    assert (run.returncode, run.stdout) == (2, ""), run
    assert said in run.stderr, run.stderr
    assert len(server.requests) == 1


def test_drift_is_an_exit_status_for_ci(server, tmp_path):
    kept = tmp_path / "guard.json"
    policy = {"name": "p", "match": {"path": "/"}, "require": {
        "source_ip": {"allow": ["192.30.252.0/22", "192.0.2.0/24"]}, "signature": {"provider": "github", "secrets": [{"env": "A"}]}}}
    kept.write_text(json.dumps({"policies": [policy]}))
    run, _ = addresses(server, "github", "--against", str(kept))
    assert (run.returncode, run.stdout.splitlines()[1:]) == (1, ["  lacks         2a0a:a440::/29", "  has too much  192.0.2.0/24"]), run
    policy["require"]["source_ip"]["allow"] = LIST["hooks"]
    kept.write_text(json.dumps({"policies": [policy]}))
    run, _ = addresses(server, "github", "--against", str(kept))
    assert run.returncode == 0 and run.stdout.endswith(": as the feed\n"), run
