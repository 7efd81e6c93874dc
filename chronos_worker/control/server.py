"""The control port: a bounded HTTP server that authenticates before it decodes."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import structlog

from chronos_common.protocol import CONTENT_TYPE, MAX_BODY_BYTES, SECRET_HEADER, encode
from chronos_worker.control.http import BoundedServer

_HEADER_KEY: Final = "HTTP_" + SECRET_HEADER.upper().replace("-", "_")

Handler = Callable[[bytes], object]
"""From a request's body to the message that answers it."""
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_REASONS: Final = {
    "401 Unauthorized": "unauthorized",
    "404 Not Found": "unknown_call",
    "408 Request Timeout": "abandoned",
    "413 Content Too Large": "oversized",
    "400 Bad Request": "malformed",
    "500 Internal Server Error": "failed",
}

log = structlog.get_logger()


class ControlApp:
    """WSGI: checks the secret in constant time, bounds the body, routes, encodes.

    `refused` is told a word for why, for every request that is not answered with what it asked for; any thread.
    """

    def __init__(self, secret: str, routes: dict[tuple[str, str], Handler], refused: Callable[[str], None]) -> None:
        self._secret = secret.encode()
        self._routes = routes
        self.refused = refused

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        status, body = self._answer(environ)
        if status in _REASONS:
            self.refused(_REASONS[status])
        start_response(status, [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        given = str(environ.get(_HEADER_KEY, "")).encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._secret):
            return "401 Unauthorized", encode("the cluster secret is missing or wrong")
        handler = self._routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if handler is None:
            return "404 Not Found", encode("there is no such call")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if not 0 <= length <= MAX_BODY_BYTES:
            return "413 Content Too Large", encode(f"a body may take 0 to {MAX_BODY_BYTES} bytes")
        try:
            body = environ["wsgi.input"].read(length)
        except OSError as error:
            return "408 Request Timeout", encode(f"the body did not arrive: {error}")
        return _handled(handler, body, environ["PATH_INFO"])


def _handled(handler: Handler, body: bytes, path: str) -> tuple[str, bytes]:
    try:
        return "200 OK", encode(handler(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return "400 Bad Request", encode(f"the body is not the message this call takes: {error}")
    except Exception:
        log.exception("control_call_failed", path=path)
        return "500 Internal Server Error", encode("the worker failed at this; its log says how")


class ControlServer:
    """The port itself, on threads of its own.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, app: ControlApp) -> None:
        self._server = BoundedServer(host, port, app, app.refused)
        try:
            self._server.prepare()
        except OSError as error:
            raise OSError(f"the control address {host}:{port} cannot be used: {error}") from error
        self._thread = threading.Thread(target=self._server.serve, name="control", daemon=True)

    @property
    def port(self) -> int:
        """The port actually bound."""
        return int(self._server.bind_addr[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving; requests under way are finished."""
        self._server.stop()
