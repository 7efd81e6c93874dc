"""Connections to workers that are kept open between requests, shared by all threads of the process.

One request has one connection for itself; the one used last is taken first, so that there are as many as there
are requests at once, and no more stay than that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import defaultdict, deque
from typing import Final, Self
from urllib.parse import urlsplit

import certifi

from chronos_common.http1 import BadMessage, MessageReader, message
from chronos_common.protocol import CONTENT_TYPE, SECRET_HEADER

CONNECT_S: Final = 1.0
MAX_KEPT: Final = 32
"""Idle connections kept for each worker."""
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
_PORTS: Final = {"http": 80, "https": 443}


class Unreachable(Exception):
    """A worker did not answer as one. `sent`: it may have got the request all the same."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Connections:
    """Sends requests to workers over kept connections. Thread-safe."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._idle: defaultdict[str, deque[_Connection]] = defaultdict(deque)

    def ask(self, url: str, method: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """(status, body) of a worker's answer; `timeout_s` bounds each wait for more of it.

        Raises:
            Unreachable: there is none.
        """
        connection = self._take(url)
        try:
            status, answer = connection.ask(method, path, body, timeout_s)
        except (OSError, BadMessage) as error:
            connection.close()
            self._forget(url)
            raise Unreachable(f"worker {url} does not answer", sent=True) from error
        except BaseException:
            connection.close()
            raise
        idle = self._idle[url]
        if connection.usable and len(idle) < MAX_KEPT:
            idle.append(connection)
        else:
            connection.close()
        return status, answer

    def _take(self, url: str) -> _Connection:
        """The connection used last that is still open, or a new one."""
        idle = self._idle[url]
        with contextlib.suppress(IndexError):
            while True:
                connection = idle.pop()
                if connection.is_open():
                    return connection
                connection.close()
        try:
            return _Connection.to(url, self._secret)
        except OSError as error:
            self._forget(url)
            raise Unreachable(f"worker {url} does not answer", sent=False) from error

    def _forget(self, url: str) -> None:
        """One connection broke, so the others to this worker are not worth keeping."""
        for connection in self._idle.pop(url, ()):
            connection.close()


class _Connection:
    """One connection; one request at a time."""

    def __init__(self, connected: socket.socket, host: str, secret: str) -> None:
        self._socket = connected
        self._reader = MessageReader(connected.recv)
        self._fields = {"Host": host, SECRET_HEADER: secret, "Content-Type": CONTENT_TYPE}
        self.usable = True

    @classmethod
    def to(cls, url: str, secret: str) -> Self:
        """Connect.

        Raises:
            OSError: nobody accepts there.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        connected = socket.create_connection((host, parts.port or _PORTS[parts.scheme]), CONNECT_S)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=certifi.where())
                connected = context.wrap_socket(connected, server_hostname=host)
        except BaseException:
            connected.close()
            raise
        return cls(connected, parts.netloc.rpartition("@")[2], secret)

    def ask(self, method: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """(status, body) of the answer.

        Raises:
            OSError: the connection broke, or nothing came in time.
            BadMessage: what came is no answer.
        """
        self._socket.settimeout(timeout_s)
        self._socket.sendall(message(f"{method} {path} HTTP/1.1", self._fields, body))
        head = self._reader.head()
        if head is None:
            raise BadMessage("the connection was closed instead of an answer")
        version, _, rest = head.start.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdecimal()):
            raise BadMessage(f"the answer begins with {head.start!r:.40}")
        if head.length > MAX_ANSWER_BYTES:
            raise BadMessage(f"the answer takes {head.length} bytes")
        self.usable = not head.closes
        return int(status), self._reader.body(head.length)

    def is_open(self) -> bool:
        """Whether the worker has neither closed the connection nor said anything unasked."""
        self._socket.settimeout(0.0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Give the socket back."""
        with contextlib.suppress(OSError):
            self._socket.close()
