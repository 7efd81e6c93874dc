"""Every class of error has its exit status and a message without a traceback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest

from chronos_common.errors import BY_CODE
from cli.chronosctl.client import Api
from cli.chronosctl.failures import CliError

ID = "01a20971-d5ad-7ef8-86e8-9397178e8ffe"


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_a_problem_ends_with_the_exit_status_of_its_code(api, run, make_problem, code):
    kind = BY_CODE[code]
    api.on("GET", f"/jobs/{ID}", kind.http_status, make_problem(kind.http_status, code, "the culprit is x"))
    ended = run("job", "get", ID)
    assert ended.status == kind.exit_status
    assert ended.err.startswith("chronosctl: the culprit is x\n")
    assert ended.out == ""


def test_all_violations_are_shown_with_what_would_be_accepted(api, run, make_problem, tmp_path):
    violations = [
        {"pointer": "/name", "message": "is missing", "accepted": "a name"},
        {"pointer": "/timeout", "message": "is '0s'"},
    ]
    api.on("POST", "/jobs", 422, make_problem(422, "invalid_request", "2 problems", violations=violations))
    (tmp_path / "job.yaml").write_text("webhook: {url: http://x/}\n")
    ended = run("job", "create", "-f", str(tmp_path / "job.yaml"))
    assert ended.status == 2
    assert "/name: is missing; accepted: a name" in ended.err
    assert "/timeout: is '0s'" in ended.err
    assert "job.yaml, document 1" in ended.err


def test_no_api_at_all_is_status_6_and_names_the_address(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        ended = run("--server", url, "job", "list")
    assert ended.status == 6
    assert f"no API answers at {url}: connection refused" in ended.err


@pytest.mark.parametrize("server", ["nonsense", "ftp://x/", "http://"])
def test_a_server_that_is_no_url_is_bad_input(run, server):
    ended = run("--server", server, "job", "list")
    assert ended.status == 2
    assert server in ended.err


def test_an_answer_that_is_no_json_is_told_as_such(api, run):
    api.on("GET", "/cluster/status", 200, b"<html>a proxy</html>", Content_Type="text/html")
    ended = run("cluster", "status")
    assert ended.status == 1
    assert "answered 200 (text/html), which is no answer of a Chronos API" in ended.err


def test_a_redirect_is_not_followed_with_the_key(api, run):
    api.on("GET", "/cluster/status", 302, None, Location="http://elsewhere.example/")
    ended = run("cluster", "status", CHRONOS_API_KEY="k")
    assert ended.status == 1
    assert len(api.calls) == 1


def test_wrong_usage_is_status_2(run):
    assert run("job", "gte").status == 2
    assert run("job", "list", "--sort", "colour").status == 2


def test_an_answer_of_another_form_is_told_in_a_line_without_a_traceback(api, run):
    api.on("GET", "/jobs", 200, ["not", "a", "page"])
    ended = run("job", "list")
    assert ended.status == 1
    assert "chronosctl: a defect, or an answer in no known form: TypeError" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_ends_with_130(api, page_of):
    asked = threading.Event()

    def answer(_body):
        asked.set()
        return page_of()

    api.on("GET", "/executions", 200, answer)
    # A background job of a shell without job control inherits SIGINT ignored, and would pass that on.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "cli.chronosctl", "--server", api.url]
    command += ["execution", "list", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "chronosctl: interrupted"


def test_a_reader_that_goes_away_is_no_failure(api, page_of, make_job):
    api.on("GET", "/jobs", 200, page_of(*(make_job("x" * 60 + str(n), n) for n in range(2_000))))
    command = (
        f"{sys.executable} -m cli.chronosctl --server {api.url} job list --all | head -1; exit ${{PIPESTATUS[0]}}"
    )
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def test_an_unavailable_cluster_is_asked_again_under_the_same_idempotency_key(api, make_problem):
    api.on("POST", "/jobs", 503, make_problem(503, "unavailable"), Retry_After="2")
    api.on("POST", "/jobs", 429, make_problem(429, "rate_limited"), Retry_After="1")
    api.on("POST", "/jobs", 201, {"id": "1"})
    clock = Clock()
    client = Api(api.url, sleep=clock.sleep, clock=lambda: clock.now, jitter=lambda: 0.0)
    assert client.post("/jobs", {"name": "x"}) == {"id": "1"}
    assert clock.slept == [2.0, 1.0]
    assert len({call.headers["idempotency-key"] for call in api.calls}) == 1


def test_asking_again_ends_at_the_deadline(api, make_problem):
    api.on("GET", "/jobs", 503, make_problem(503, "unavailable"), Retry_After="3")
    clock = Clock()
    client = Api(api.url, patience_s=10.0, sleep=clock.sleep, clock=lambda: clock.now, jitter=lambda: 0.0)
    with pytest.raises(CliError) as failure:
        client.get("/jobs")
    assert failure.value.status == 6
    assert clock.slept == [3.0, 3.0, 3.0]


def test_a_503_that_does_not_ask_for_patience_is_final(api, make_problem):
    api.on("GET", "/jobs", 503, make_problem(503, "unavailable"))
    with pytest.raises(CliError):
        Api(api.url).get("/jobs")
    assert len(api.calls) == 1


def test_every_post_has_its_own_idempotency_key(api):
    api.on("POST", "/jobs", 201, {"id": "1"})
    client = Api(api.url)
    client.post("/jobs", {})
    client.post("/jobs", {})
    assert len({call.headers["idempotency-key"] for call in api.calls}) == 2
