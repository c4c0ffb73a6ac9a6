"""`webhook-guard-messages serve`, as an operator would run it, with its page and its API.

Responsible for starting and ending it, for its ports, and for asking it. It knows the names of its routes, and nothing of what
a message should say.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

from harness.envoy import ROOT

SECONDS = 20.0


def find_messages() -> Path:
    """WEBHOOK_GUARD_MESSAGES=/path, else what `make messages-cli` builds."""
    return Path(os.environ.get("WEBHOOK_GUARD_MESSAGES", ROOT / "target/cli/webhook-guard-messages"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One of its other commands."""
    return subprocess.run([find_messages(), *arguments], capture_output=True, check=False, env={}, text=True, errors="surrogateescape")


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Messages:
    """The running program, as a context manager. `prepare` is run in its process before it starts."""

    def __init__(self, folder: Path, *arguments: str, otlp: int = 0, port: int = 0, prepare=None) -> None:
        self.database = folder / "messages.db"
        self._arguments, self._otlp, self._port, self._prepare = arguments, otlp, port, prepare
        self._follows = "--follow" in arguments

    def __enter__(self) -> "Messages":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        command = [find_messages(), "serve", "--database", self.database]
        if "--listen" not in self._arguments:
            command += ["--listen", f"127.0.0.1:{self._port}"]
        if not self._follows and "--otlp" not in self._arguments:
            command += ["--otlp", f"127.0.0.1:{self._otlp}"]
        self.process = subprocess.Popen([*command, *self._arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={}, preexec_fn=self._prepare)
        self.said: list[str] = []
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        self.url = self.wait_for_words(r"^page at ([^,]*)")
        self._port = self.port = int(self.wait_for_words(r"^page at .*:(\d+)$"))
        if not self._follows:
            self._otlp = self.otlp = int(self.wait_for_words(r"^records over OTLP at .*:(\d+)$"))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(15)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.said.append(line.rstrip("\n"))

    def wait_for_words(self, pattern: str) -> str:
        deadline = time.monotonic() + SECONDS
        while True:
            for line in list(self.said):
                if found := re.search(pattern, line):
                    return found[1] if found.groups() else line
            assert self.process.poll() is None and time.monotonic() < deadline, f"no {pattern!r} in {self.said}"
            time.sleep(0.01)

    def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        """Any request, with the headers that are given and no others but `host`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in ({"host": f"127.0.0.1:{self.port}"} | (headers or {})).items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        connection.close()
        return answer

    def messages(self, **filters: object) -> list[dict]:
        answer = self.ask(f"/api/messages?{urlencode(filters)}")
        assert answer.status == 200, answer.body
        return answer.json["messages"]

    def wait_for(self, count: int, **filters: object) -> list[dict]:
        """The messages that a filter leaves, when there are so many."""
        deadline = time.monotonic() + SECONDS
        while len(found := self.messages(limit=500, **filters)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages came; {self.said}"
            time.sleep(0.05)
        return found

    def detail(self, number: int) -> dict:
        answer = self.ask(f"/api/messages/{number}")
        assert answer.status == 200, answer.body
        return answer.json

    def body(self, number: int) -> bytes:
        answer = self.ask(f"/api/messages/{number}/body")
        assert answer.status == 200, answer.body
        return answer.body

    def resubmit(self, number: int, **headers: str) -> Answer:
        return self.ask(f"/api/messages/{number}/resubmit", method="POST", headers={"origin": self.url} | headers, body=b"")
