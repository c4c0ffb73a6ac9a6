"""One sequence of a fuzzer: what is written to one connection and how it ends, whatever it is, and what was answered.

Responsible for writing and reading. What the bytes are is for `http1` and `http2`, which also read the answers.
"""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from fuzz.envoy.traffic import Delivery

PATIENCE, QUIET = 20.0, 0.03


class End(Enum):
    READ = "read"
    HALF_CLOSE = "half-closed"
    CLOSE = "closed"
    RESET = "reset"


@dataclass
class Sequence:
    """`statuses` reads the final statuses from all that was received, by the number of a stream or, of HTTP/1.1, of an answer. Those that have
    to come are `awaited`, by the deliveries' numbers, where that is certain. `again` is one more good delivery, its number and its bytes, for
    where the connection is still open."""

    protocol: str
    deliveries: list[Delivery]
    pieces: list[bytes]
    statuses: Callable[[bytes], dict[int, int]]
    end: End = End.READ
    awaited: dict[int, Delivery] | None = None
    again: tuple[Delivery, int, bytes] | None = None
    pause: float = 0.0


def split(random: Random, wire: bytes, whole: int = 1) -> list[bytes]:
    """The same bytes in a few pieces, cut anywhere behind the first that have to be `whole`."""
    count = random.choice([0, 0, 1, 3, 8]) if len(wire) > whole else 0
    cuts = sorted({random.randrange(whole, len(wire)) for _ in range(count)})
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@dataclass
class Answers:
    """The final statuses, and whether the connection was still open behind them, and behind the good delivery after them."""

    statuses: dict[int, int]
    was_open: bool = False
    stayed_open: bool = False


def drive(port: int, sequence: Sequence) -> Answers:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_open = _write(connection, sequence.pieces, sequence.pause)
        if sequence.end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if sequence.end in (End.RESET, End.CLOSE):
            return Answers({})
        if sequence.end is End.HALF_CLOSE and is_open:
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # Envoy has closed it already
        received, was_open = _read(connection, b"", sequence.statuses, sequence.awaited)
        if not sequence.again or not was_open:
            return Answers(sequence.statuses(received), was_open)
        delivery, number, wire = sequence.again
        _write(connection, [wire], 0)
        received, stayed_open = _read(connection, received, sequence.statuses, {number: delivery})
        return Answers(sequence.statuses(received), was_open, stayed_open)


def _write(connection: socket.socket, pieces: list[bytes], pause: float) -> bool:
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
    except OSError:
        return False  # Envoy may answer and close before it has read all
    return True


def _read(connection: socket.socket, received: bytes, statuses: Callable[[bytes], dict[int, int]],
          awaited: dict[int, Delivery] | None) -> tuple[bytes, bool]:
    """All that comes until what is awaited is there; or until nothing comes any more, where nobody knows what to await."""
    connection.settimeout(QUIET if awaited is None else PATIENCE)
    while awaited is None or not awaited.keys() <= statuses(received).keys():
        try:
            more = connection.recv(1 << 16)
        except TimeoutError:
            return received, True
        except OSError:
            return received, False
        if not more:
            return received, False
        received += more
    return received, True
