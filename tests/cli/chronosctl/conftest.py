"""A real HTTP server that answers what a test tells it to, and the program run against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from cli.chronosctl.main import main


class Call(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    headers: dict[str, str]


class FakeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[Call] = []
        self.answers: dict[tuple[str, str], list[tuple[int, Any, dict[str, str]]]] = {}

    def handle_error(self, *_: Any) -> None:
        """A client that has gone away is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def on(self, method: str, path: str, status: int, body: Any, **headers: str) -> None:
        """The next answer to this request; the last one stays."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault((method, "/api/v1" + path), []).append((status, body, named))

    def sent(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]


class Handler(BaseHTTPRequestHandler):
    server: FakeApi

    def _answer(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.calls.append(Call(self.command, url.path, parse_qs(url.query), body, headers))
        left = self.server.answers.get((self.command, url.path), [(404, problem(404, "not_found"), {})])
        status, answer, extra = left.pop(0) if len(left) > 1 else left[0]
        if callable(answer):
            answer = answer(body)
        data = b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, *_: Any) -> None:
        pass


def problem(status: int, code: str, detail: str = "so it is", **more: Any) -> dict[str, Any]:
    return {"type": f"urn:chronos:problem:{code}", "status": status, "code": code, "detail": detail, **more}


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def fake_api() -> type[FakeApi]:
    return FakeApi


@pytest.fixture
def run(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program; an environment given is all it sees, beside an empty home."""

    def go(*arguments: str, **environ: str) -> Ended:
        seen = {"XDG_CONFIG_HOME": str(tmp_path), "CHRONOS_SERVER": api.url, **environ}
        with pytest.raises(SystemExit) as ended:
            main(list(arguments), seen)
        written = capsys.readouterr()
        return Ended(int(ended.value.code or 0), written.out, written.err)

    return go


@pytest.fixture
def make_problem() -> Callable[..., dict[str, Any]]:
    return problem


@pytest.fixture
def page_of() -> Callable[..., dict[str, Any]]:
    return lambda *items: {"items": list(items), "next_cursor": None}


@pytest.fixture
def make_job() -> Callable[..., dict[str, Any]]:
    """A job as the API answers it."""

    def make(name: str, number: int = 1, **fields: Any) -> dict[str, Any]:
        return {
            "id": f"01a20971-0000-7000-8000-{number:012d}",
            "version": 4,
            "name": name,
            "namespace": "default",
            "description": "",
            "schedule": "0 9 * * *",
            "timezone": "UTC",
            "webhook": {
                "url": "http://t.example/", "method": "GET", "headers": {}, "body": None,
                "success_codes": ["200-299"],
            },
            "retry_policy": {"max_attempts": 7, "initial_interval": "1s", "max_interval": "1m", "multiplier": 2.0},
            "timeout": "9m",
            "concurrency": "forbid",
            "misfire": {"policy": "skip", "grace": "1m", "window": "1d", "cap": 100},
            "retention": {"max_age": "30d", "max_count": 1000},
            "tags": {},
            "enabled": True,
            "created_at": "2030-01-01T00:00:00.000Z",
            "updated_at": "2030-01-01T00:00:00.000Z",
            "next_fire_time": "2030-01-02T09:00:00.000Z",
            "last_fire_time": None,
            "schedule_status": "scheduled",
            **fields,
        }  # fmt: skip

    return make
