"""The HTTP server below the control port: every request it turns away by itself is counted too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.wsgi import Server

from chronos_common.protocol import MAX_BODY_BYTES

THREADS: Final = 24
MAX_HEADER_BYTES: Final = 32 << 10
"""Request line and headers of one request; a stranger may make the worker hold that much for each thread."""
_BACKLOG: Final = 256
_TIMEOUT_S: Final = 30
_REASONS: Final = {"408": "timeout", "413": "oversized", "414": "oversized", "500": "failed"}
"""Why, by the status with which the server answers by itself; everything else is `malformed`."""


class _Request(HTTPRequest):
    """A request that tells when it comes to nothing before our application sees it."""

    def parse_request(self) -> None:
        """Read up to the end of the headers."""
        self._answered = False
        try:
            super().parse_request()
        except OSError as error:
            if not isinstance(error, TimeoutError):  # that is answered; but here nobody is left
                self.server.refused("abandoned")
            raise
        if not self.ready and not self._answered and self.rfile.bytes_read:
            self.server.refused("abandoned")

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer instead of the application."""
        if not status.startswith("100"):  # go on, says RFC 9110 §10.1.1
            self._answered = True
            self.server.refused(_REASONS.get(status[:3], "malformed"))
        super().simple_response(status, msg)


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request


class BoundedServer(Server):
    """Threads, waiting connections, headers and bodies are all bounded."""

    ConnectionClass = _Connection

    def __init__(self, host: str, port: int, app: Any, refused: Callable[[str], None]) -> None:
        super().__init__(
            (host, port),
            app,
            numthreads=THREADS,
            max=THREADS,
            request_queue_size=_BACKLOG,
            timeout=_TIMEOUT_S,
            accepted_queue_size=_BACKLOG,
            accepted_queue_timeout=_TIMEOUT_S,
        )
        self.max_request_body_size = MAX_BODY_BYTES
        self.max_request_header_size = MAX_HEADER_BYTES
        self.refused = refused
