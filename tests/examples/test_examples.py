"""The examples work as their comments say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from cli.chronosctl.documents import read_documents
from cli.chronosctl.planning import plan

EXAMPLES = Path("examples").resolve()


@pytest.fixture
def receiver():
    spec = importlib.util.spec_from_file_location("receiver", EXAMPLES / "receiver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = []
    target = module.Receiver(0, told.append)
    thread = threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{target.server_address[1]}", told
    target.stop()
    thread.join(5)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/ok", 200), ("/slow?seconds=0", 200), ("/slow?seconds=-1", 200), ("/fail", 500), ("/x", 404)],
)
def test_the_receiver_answers_by_the_path(receiver, path, status):
    url, _ = receiver
    assert requests.post(url + path, json={"a": 1}, timeout=10).status_code == status


def test_every_other_call_of_a_flaky_target_fails(receiver):
    url, _ = receiver
    assert [requests.get(f"{url}/flaky", timeout=10).status_code for _ in range(4)] == [503, 200, 503, 200]


def test_the_receiver_tells_execution_and_attempt_and_notices_repeats(receiver):
    url, told = receiver
    for attempt in "12":
        requests.put(f"{url}/ok", headers={"X-Chronos-Execution-ID": "e1", "X-Chronos-Attempt": attempt}, timeout=10)
    assert told[0].endswith("PUT  /ok      200  e1 attempt 1")
    assert told[1].endswith("e1 attempt 2  call 2 of this execution")


def test_the_jobs_are_some_forty_valid_ones_of_every_kind():
    documents = read_documents([str(EXAMPLES / "jobs.yaml")])
    assert 38 <= len(documents) <= 45
    assert {step.action for step in plan(documents, {}, send_secrets=False)} == {"create"}
    schedules = [document.body.get("schedule") for document in documents]
    assert None in schedules
    for form in (r"@every ", r"@at ", r".* L \*", r"(\S+ ){5}\S+$"):
        assert any(re.match(form, schedule or "") for schedule in schedules), form
    assert {d.body.get("concurrency", "forbid") for d in documents} == {"allow", "forbid", "replace"}
    assert len({d.body.get("timezone", "UTC") for d in documents}) >= 8


def test_the_demo_starts_a_node_shows_executions_and_leaves_nothing(tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHRONOS_")}
    demo = [sys.executable, str(EXAMPLES / "demo.py"), "--server", "http://127.0.0.1:1", "--port", "0"]
    environ["TMPDIR"] = str(tmp_path)
    ended = subprocess.run(
        [*demo, "--seconds", "7"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
        env=environ,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"succeeded +schedule +1 .* ping-website", ended.stdout), ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []
