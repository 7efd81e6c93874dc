"""A target that records every request it gets.

`/?ms=300` answers after so many milliseconds; `/hang` answers a first attempt only once `released` is set.
"""

import contextlib
import http.server
import threading
import time
from collections import Counter, defaultdict
from urllib.parse import parse_qs, urlsplit

LONGEST_S = 60.0


class Sink:
    """Counts requests by execution id; `attempts` holds the attempt numbers seen for each."""

    def __init__(self):
        self.requests = Counter()
        self.attempts = defaultdict(list)
        self.arrived_s = []
        self.released = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
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
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self):
        self.released.set()
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def sink():
    running = Sink()
    try:
        yield running
    finally:
        running.close()
