"""docs/api.md is run: every request on it, in order, with the answer it promises; and no endpoint is left out."""

import fnmatch
import http.server
import json
import re
import threading
from pathlib import Path

import pytest

from chronos_api.app import create_app
from chronos_api.settings import settings_from
from tests.support.processes import wait_for, worker_in_thread, write_config

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```http\n(.+?)\n```\n```answer\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
HOST = "https://api.example.com"


class Target(http.server.BaseHTTPRequestHandler):
    released = threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            self.released.wait(20)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def target():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Target.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with worker_in_thread(write_config(tmp_path_factory.mktemp("docs"))) as (_, config):
        yield create_app(settings_from(config)).test_client()


def parsed(block):
    """(first line, headers, body) of a block."""
    head, _, body = block.partition("\n\n")
    first, *lines = head.splitlines()
    return first, dict(line.split(": ", 1) for line in lines), json.loads(body) if body else None


def differences(shown, answered, at=""):
    """Where the answer is not what the page shows of it; `…` stands for anything."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        for key, value in shown.items():
            if key not in answered:
                yield f"{at}/{key} is missing"
            else:
                yield from differences(value, answered[key], f"{at}/{key}")
    elif isinstance(shown, list) and isinstance(answered, list) and len(shown) == len(answered):
        for number, value in enumerate(shown):
            yield from differences(value, answered[number], f"{at}/{number}")
    elif isinstance(shown, str) and isinstance(answered, str) and "…" in shown:
        if not fnmatch.fnmatchcase(answered, re.sub(r"([*?[])", r"[\1]", shown).replace("…", "*")):
            yield f"{at} is {answered!r}, the page shows {shown!r}"
    elif shown != answered:
        yield f"{at} is {answered!r}, the page shows {shown!r}"


def settled(api, execution_id):
    return wait_for(
        lambda: api.get(f"/api/v1/executions/{execution_id}").json["status"] in ("succeeded", "failed", "cancelled"),
        "the execution to end",
    )


def run(api, target, names, request, answer):
    for name, value in names.items():
        request = request.replace(f"{{{name}}}", value)
    first, headers, body = parsed(request.replace(HOST, target))
    method, path = first.split(" ")
    got = api.open(path, method=method, headers=headers, **({"json": body} if body is not None else {}))
    if got.status_code in (201, 202) and got.headers.get("Location"):
        names["job" if "/jobs/" in got.headers["Location"] else "execution"] = got.json["id"]
    for name, value in names.items():
        answer = answer.replace(f"{{{name}}}", value)
    status, shown_headers, shown = parsed(answer.replace(HOST, target))
    assert got.status_code == int(status), (first, got.text)
    assert {name: got.headers.get(name) for name in shown_headers} == shown_headers, first
    assert list(differences(shown, got.get_json(silent=True, force=True))) == [], (first, got.text)
    if got.status_code == 202 and path.endswith(("/trigger", "/replay")) and "slow" not in names.get("last", ""):
        settled(api, names["execution"])
    names["last"] = request


def test_every_example_is_answered_as_the_page_says(api, target):
    assert len(EXAMPLES) == PAGE.count("```http\n") == PAGE.count("```answer\n")
    names = {}
    for request, answer in EXAMPLES:
        run(api, target, names, request, answer)


def test_every_endpoint_has_an_example(api):
    shown = {parsed(request)[0] for request, _ in EXAMPLES}
    names = {"job_id": "{job}", "execution_id": "{execution}", "version": "[0-9]", "node_id": "node-4"}
    missing = []
    for path, operations in api.get("/api/openapi.json").json["paths"].items():
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda found: names[found[1]], re.escape(path))
        for verb in operations.keys() - {"parameters"}:
            example = re.compile(rf"{verb.upper()} {pattern}(\?.*)?")
            if not any(example.fullmatch(line) for line in shown):
                missing.append(f"{verb.upper()} {path}")
    assert missing == []


def test_a_wrong_page_would_be_noticed():
    assert list(differences({"a": "x…z", "b": [1, {"c": None}]}, {"a": "xyz", "b": [1, {"c": None}], "d": 1})) == []
    assert len(list(differences({"a": "x…z", "b": [1]}, {"a": "xy", "b": [1, 2]}))) == 2
    assert list(differences({"a": 1}, {})) == ["/a is missing"]
