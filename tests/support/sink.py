"""A target that records every request it gets.

`/?ms=300` answers after so many milliseconds; `/hang` answers a first attempt only once `released` is set.
"""

import contextlib
import http.server
import sys
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

LONGEST_S = 60.0


class Arrival(NamedTuple):
    """A request: when it came and when it was answered, in milliseconds of the wall clock."""

    job_id: str
    execution_id: str
    fire_time: int
    attempt: int
    at_ms: int
    answered_ms: int


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A sender that was killed breaks its connection; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Sink:
    """Counts requests by execution id; `attempts` holds the attempt numbers seen for each."""

    def __init__(self, host="127.0.0.1"):
        self.requests = Counter()
        self.arrivals = []
        self.attempts = defaultdict(list)
        self.arrived_s = []
        self.released = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                at_ms = time.time_ns() // 1_000_000
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                attempt = int(self.headers["X-Chronos-Attempt"])
                with sink._lock:
                    key = self.headers["Idempotency-Key"]
                    sink.requests[key] += 1
                    sink.attempts[key].append(attempt)
                    sink.arrived_s.append(time.monotonic())
                url = urlsplit(self.path)
                if url.path == "/hang" and attempt == 1:
                    sink.released.wait(LONGEST_S)
                if asked := parse_qs(url.query).get("ms"):
                    sink._closing.wait(int(asked[0]) / 1_000)
                sink._note(self.headers, at_ms)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = _Server((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://{host}:{self._server.server_address[1]}/"

    def _note(self, headers, at_ms):
        fire_time = round(datetime.fromisoformat(headers["X-Chronos-Scheduled-Time"]).timestamp() * 1_000)
        execution_id, attempt = headers["X-Chronos-Execution-ID"], int(headers["X-Chronos-Attempt"])
        answered_ms = time.time_ns() // 1_000_000
        with self._lock:
            self.arrivals.append(
                Arrival(headers["X-Chronos-Job-ID"], execution_id, fire_time, attempt, at_ms, answered_ms)
            )

    def close(self):
        self.released.set()
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def sink(host="127.0.0.1"):
    running = Sink(host)
    try:
        yield running
    finally:
        running.close()
