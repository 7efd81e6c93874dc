"""A client of the public API over one kept connection, thin enough not to be what is measured."""

from __future__ import annotations

import http.client
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from bench.processes import BenchFailed


class Answer(NamedTuple):
    """What came back, and after how many milliseconds."""

    status: int
    body: bytes
    took_ms: float

    def json(self) -> Any:
        """The body."""
        return orjson.loads(self.body)


class Client:
    """One connection. Not for several threads."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request; a connection closed between two requests is opened again.

        Raises:
            OSError, http.client.HTTPException: the API did not answer.
        """
        given = {"Content-Type": "application/json", **(headers or {})} if body is not None else (headers or {})
        begun = time.perf_counter()
        for last in (False, True):
            try:
                self._connection.request(method, path, body, given)
                response = self._connection.getresponse()
                data = response.read()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self._connection.close()
                if last:
                    raise
        return Answer(response.status, data, (time.perf_counter() - begun) * 1_000)

    def want(self, status: int, method: str, path: str, document: Any = None) -> Any:
        """The JSON of an answer that must have a certain status.

        Raises:
            BenchFailed: it has another.
        """
        answer = self.ask(method, path, None if document is None else orjson.dumps(document))
        if answer.status != status:
            raise BenchFailed(f"{method} {path} was answered with {answer.status}: {answer.body[:500]!r}")
        return answer.json() if answer.body else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
