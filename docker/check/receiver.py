"""The webhook target of the checks, run in a container: prints `begin ID PATH` and `end ID PATH` of each call.

/ok answers at once, /slow after five seconds.
"""

# ruff: noqa: INP001, T201 - a program by itself; it runs docker and says what it sees

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9000
SLOW_S = 5.0
NEVER = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One connection from a dispatcher."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer by the path."""
        execution_id = self.headers["X-Chronos-Execution-ID"]
        print(f"begin {execution_id} {self.path}\n", end="", flush=True)
        if self.path == "/slow":
            NEVER.wait(SLOW_S)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(f"end {execution_id} {self.path}\n", end="", flush=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Leave the log to `do_GET`."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
