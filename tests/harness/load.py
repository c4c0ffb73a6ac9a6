"""A sender that never rests, for what has to happen while requests come in.

Responsible for sending one request after the other and for counting what each was answered. Which answers are right is
for the tests to say.
"""

import threading
from collections.abc import Callable

from harness import client
from harness.client import Request


class Load:
    """Sends, as a context manager, what `request` makes; `statuses` counts what it was answered."""

    def __init__(self, port: int, request: Callable[[], Request]) -> None:
        self._port, self._request, self._rests, self.statuses = port, request, threading.Event(), {200: 0}
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rests.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._rests.is_set():
            status = client.h1_length(self._port, self._request()).status
            self.statuses[status] = self.statuses.get(status, 0) + 1
