"""A target that records every request it gets."""

import contextlib
import http.server
import threading
from collections import Counter, defaultdict


class Sink:
    """Counts requests by execution id; `attempts` holds the attempt numbers seen for each."""

    def __init__(self):
        self.requests = Counter()
        self.attempts = defaultdict(list)
        self._lock = threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with sink._lock:
                    key = self.headers["Idempotency-Key"]
                    sink.requests[key] += 1
                    sink.attempts[key].append(int(self.headers["X-Chronos-Attempt"]))
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
