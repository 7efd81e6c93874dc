"""A webhook target to play with: prints who calls, and notices repeats by the execution id.

/ok answers 200 · /slow?seconds=3 answers late · /fail answers 500 · /flaky fails every other call.
Nothing but the standard library: `python3 examples/receiver.py --port 9000`.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LONGEST_WAIT_S = 300.0
REMEMBERED = 10_000


class Ledger:
    """The executions that called, each with how often. Bounded: the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: OrderedDict[str, int] = OrderedDict()
        self.turns = itertools.count(1)

    def note(self, execution_id: str) -> int:
        """Count a call, and say the how-manieth of its execution it is."""
        with self._lock:
            count = self._calls.pop(execution_id, 0) + 1
            self._calls[execution_id] = count
            while len(self._calls) > REMEMBERED:
                self._calls.popitem(last=False)
            return count


class Handler(BaseHTTPRequestHandler):
    """One connection from a dispatcher."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def answer(self) -> None:
        """Answer any method, by the path."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        execution_id = self.headers.get("X-Chronos-Execution-ID", "-")
        attempt = self.headers.get("X-Chronos-Attempt", "-")
        count = self.server.ledger.note(execution_id)
        status = self._status(url.path, parse_qs(url.query))
        repeat = f"  call {count} of this execution" if count > 1 and execution_id != "-" else ""
        now = datetime.datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        self.server.tell(f"{now} {self.command:4} {url.path:8} {status}  {execution_id} attempt {attempt}{repeat}")
        body = f"{status}\n".encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.server.tell(f"{now} {execution_id} went away before the answer")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815 - the names http.server looks for

    def _status(self, path: str, query: dict[str, list[str]]) -> int:
        if path == "/slow":
            self.server.stopping.wait(_seconds(query))
            return 200
        if path == "/fail":
            return 500
        if path == "/flaky":
            return 503 if next(self.server.ledger.turns) % 2 else 200
        return 200 if path == "/ok" else 404

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Leave the log to `answer`."""


class Receiver(ThreadingHTTPServer):
    """The target. `tell` gets a line for each call; port 0 takes any free one."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, tell: Callable[[str], None]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.ledger = Ledger()
        self.tell = tell
        self.stopping = threading.Event()

    def stop(self) -> None:
        """Answer no more, and wake those that wait."""
        self.stopping.set()
        self.shutdown()
        self.server_close()


def _seconds(query: dict[str, list[str]]) -> float:
    try:
        return min(max(float(query.get("seconds", ["5"])[0]), 0.0), LONGEST_WAIT_S)
    except ValueError:
        return 5.0


def main() -> None:
    """Listen until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9000)
    port = parser.parse_args().port
    try:
        receiver = Receiver(port, lambda line: print(line + "\n", end="", flush=True))
    except OSError as error:
        sys.exit(f"receiver: port {port} of 127.0.0.1 cannot be had: {error.strerror}; choose another with --port")
    print(f"listening on http://127.0.0.1:{port}: /ok /slow?seconds=3 /fail /flaky", flush=True)
    try:
        receiver.serve_forever()
    except KeyboardInterrupt:
        receiver.server_close()


if __name__ == "__main__":
    main()
