"""A TCP server of a test: it listens on a port of its own, and serves each connection in a thread.

Responsible for accepting and for ending; what is said on a connection is for who inherits from it.
"""

import socket
import threading
from typing import Self


class Listener:
    """Listens as long as it is entered."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the thread that blocks in accept(); close alone would leave it there.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def accepted(self) -> None:
        """A connection has come, and is not served yet."""

    def serve(self, connection: socket.socket) -> None:
        """Serves a connection, and closes it."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
