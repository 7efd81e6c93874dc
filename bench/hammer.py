"""The highest rate at which a server answers one request, asked again and again over a few kept connections."""

from __future__ import annotations

import socket
import threading
import time
from typing import NamedTuple

from bench.processes import BenchFailed

_READ_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Rate(NamedTuple):
    """What came of it."""

    answers: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def hammer(port: int, path: str, *, seconds: float, connections: int = 8) -> Rate:
    """Ask for a path as fast as it is answered.

    Raises:
        BenchFailed: an answer was not 200, or a connection was lost.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode("ascii")
    counts = [0] * connections
    failures: list[str] = []
    begun = time.perf_counter()

    def ask(number: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                while time.perf_counter() - begun < seconds:
                    connection.sendall(request)
                    _receive(connection)
                    counts[number] += 1
        except (OSError, BenchFailed) as error:
            failures.append(str(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchFailed(f"GET {path}: {failures[0]}")
    return Rate(sum(counts), time.perf_counter() - begun)


def _receive(connection: socket.socket) -> None:
    """Read one answer of a stated length."""
    data = b""
    while _HEAD_END not in data:
        data += _more(connection)
    head, _, body = data.partition(_HEAD_END)
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchFailed(f"answered with {head[:80]!r}")
    at = head.lower().index(_LENGTH) + len(_LENGTH)
    missing = int(head[at:].split(b"\r\n", 1)[0]) - len(body)
    while missing > 0:
        missing -= len(_more(connection))


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(_READ_BYTES)
    if not data:
        raise BenchFailed("the connection was closed")
    return data
