"""The control port: a bounded HTTP server that authenticates before it decodes.

Each connection has a thread that reads, answers and reads again. The API tier keeps its connections open, so a
request costs no thread, no queue and no selector in between (docs/adr/0009): they took twenty times what the
reading and the answering take.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
import structlog

from chronos_common.http1 import BadMessage, Head, MessageReader, message
from chronos_common.protocol import CONTENT_TYPE, MAX_BODY_BYTES, SECRET_HEADER, encode

MAX_CONNECTIONS: Final = 256
"""Connections served at once; a further one is closed unheard, and its caller tries another worker."""
_BACKLOG: Final = 256
_FIRST_S: Final = 5.0
"""A new connection that says nothing for so long is closed, as no stranger may hold one of few places."""
_IDLE_S: Final = 60.0
"""The same between two requests of a connection that has shown the secret."""
_CLOSING_S: Final = 5.0
_PAUSE_S: Final = 0.1
_DRAIN_S: Final = 1.0
_DRAIN_BYTES: Final = 64 << 10
_SECRET_KEY: Final = SECRET_HEADER.lower()

Handler = Callable[[bytes], object]
"""From a request's body to the message that answers it."""

_REASONS: Final = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.NOT_FOUND: "unknown_call",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "oversized",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "oversized",
    HTTPStatus.BAD_REQUEST: "malformed",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failed",
    None: "abandoned",
}

log = structlog.get_logger()


class ControlApp:
    """Checks the secret in constant time, bounds the body, routes, encodes.

    `refused` is told a word for why, for every request that is not answered with what it asked for; any thread.
    """

    def __init__(self, secret: str, routes: dict[tuple[str, str], Handler], refused: Callable[[str], None]) -> None:
        self._secret = secret.encode()
        self._routes = routes
        self.refused = refused

    def answer(self, head: Head, body: Callable[[int], bytes]) -> tuple[HTTPStatus, bytes]:
        """Answer one request. `body` reads so many bytes of it, which is done only for those who know the secret.

        Raises:
            BadMessage: the request is no message.
        """
        given = head.fields.get(_SECRET_KEY, "").encode("latin-1")
        if not hmac.compare_digest(given, self._secret):
            return HTTPStatus.UNAUTHORIZED, encode("the cluster secret is missing or wrong")
        method, _, rest = head.start.partition(" ")
        path, _, _ = rest.partition(" ")
        handler = self._routes.get((method, path))
        if handler is None:
            return HTTPStatus.NOT_FOUND, encode("there is no such call")
        if head.length > MAX_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, encode(f"a body may take {MAX_BODY_BYTES} bytes")
        data = body(head.length)
        try:
            return HTTPStatus.OK, encode(handler(data))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return HTTPStatus.BAD_REQUEST, encode(f"the body is not the message this call takes: {error}")
        except Exception:
            log.exception("control_call_failed", path=path)
            return HTTPStatus.INTERNAL_SERVER_ERROR, encode("the worker failed at this; its log says how")


class ControlServer:
    """The port itself, on threads of its own.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, app: ControlApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._served: dict[socket.socket, threading.Thread] = {}
        self._closing = threading.Event()
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            raise OSError(f"the control address {host}:{port} cannot be used: {error}") from error
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    @property
    def port(self) -> int:
        """The port actually bound."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving; requests under way are finished, if that does not take long."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            served = dict(self._served)
            for connection in served:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)  # whoever waits for a request sees the end
        deadline = time.monotonic() + _CLOSING_S
        for thread in served.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        full = False
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._closing.wait(_PAUSE_S)  # no file descriptor is free, or the caller is gone already
                continue
            if len(self._served) < MAX_CONNECTIONS:
                full = False
                self._admit(connection)
                continue
            connection.close()
            self._app.refused("too_many_connections")
            if not full:
                log.warning("control_port_full", connections=MAX_CONNECTIONS)
            full = True

    def _admit(self, connection: socket.socket) -> None:
        thread = threading.Thread(target=self._serve, args=(connection,), name="control-connection", daemon=True)
        with self._lock:
            self._served[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        is_stranger = True
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_FIRST_S)
            reader = MessageReader(connection.recv)
            while (head := reader.head()) is not None and self._one(connection, head, reader):
                is_stranger = False
                connection.settimeout(_IDLE_S)
        except BadMessage as error:
            self._app.refused(_REASONS[error.status])
            if error.status is not None:
                self._say(connection, error.status, encode(str(error)), goes_on=False)
        except OSError as error:  # it went away or fell silent; those who know the secret may
            if is_stranger:
                self._app.refused("timeout" if isinstance(error, TimeoutError) else "abandoned")
        finally:
            with self._lock:
                del self._served[connection]
            connection.close()

    def _one(self, connection: socket.socket, head: Head, reader: MessageReader) -> bool:
        """Answer a request; whether the connection is good for another. After a refusal it is not."""
        status, body = self._app.answer(head, reader.body)
        if status is not HTTPStatus.OK:
            self._app.refused(_REASONS[status])
        goes_on = status is HTTPStatus.OK and not head.closes and not self._closing.is_set()
        self._say(connection, status, body, goes_on=goes_on)
        return goes_on

    def _say(self, connection: socket.socket, status: HTTPStatus, body: bytes, *, goes_on: bool) -> None:
        fields = {"Content-Type": CONTENT_TYPE}
        if not goes_on:
            fields["Connection"] = "close"
        with contextlib.suppress(OSError):  # if it is gone, reading on will show it
            connection.sendall(message(f"HTTP/1.1 {status.value} {status.phrase}", fields, body))
        if status is not HTTPStatus.OK:
            _drain(connection)


def _drain(connection: socket.socket) -> None:
    """Read on for a while after the last word: a close with bytes unread would take it back (RFC 9112, 9.6)."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_DRAIN_S)
        deadline = time.monotonic() + _DRAIN_S
        while connection.recv(_DRAIN_BYTES) and time.monotonic() < deadline:
            pass
