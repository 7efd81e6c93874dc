"""Waiting for executions, watching them, and what an operator asks of the cluster."""

from __future__ import annotations

import json

import pytest

from cli.chronosctl.client import Api
from cli.chronosctl.executions import News

ID = "01a20971-f294-7c0a-b6e8-e271c2024d3e"
JOB_ID = "01a20971-0000-7000-8000-000000000001"


def execution(status, number=1, **fields):
    return {
        "id": ID[:-1] + str(number), "job_name": "daily", "status": status, "attempt_count": 0, "lost_count": 0,
        "fire_time": str(number), "reason": None, **fields,
    }  # fmt: skip


def test_waiting_ends_with_the_execution(api, run):
    api.on("POST", f"/jobs/{JOB_ID}/trigger", 202, execution("pending"))
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution("running"))
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution("succeeded"))
    ended = run("job", "trigger", JOB_ID, "--wait", "--payload", '{"a": [1]}')
    assert ended.status == 0
    assert "status: succeeded" in ended.out
    assert api.calls[0].body == {"payload": {"a": [1]}}


@pytest.mark.parametrize("status", ["failed", "skipped", "cancelled"])
def test_an_awaited_execution_without_success_is_status_7(api, run, status):
    api.on("POST", f"/executions/{ID}/replay", 202, execution("pending"))
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution(status, reason="answered 500"))
    ended = run("execution", "replay", ID, "--wait", "-o", "json")
    assert ended.status == 7
    assert f"of daily {status}: answered 500" in ended.err
    assert json.loads(ended.out)["status"] == status


def test_waiting_has_an_end_of_its_own(api, run):
    api.on("POST", f"/jobs/{JOB_ID}/trigger", 202, execution("pending"))
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution("running"))
    ended = run("job", "trigger", JOB_ID, "--wait", "--timeout", "1s")
    assert ended.status == 6
    assert "still running after 1 s" in ended.err


def test_a_wait_of_no_duration_is_refused_before_the_job_is_triggered(api, run):
    assert run("job", "trigger", JOB_ID, "--wait", "--timeout", "soon").status == 2
    assert api.calls == []


def test_a_trigger_without_payload_sends_none(api, run):
    api.on("POST", f"/jobs/{JOB_ID}/trigger", 202, execution("pending"))
    assert run("job", "trigger", JOB_ID).status == 0
    assert api.calls[0].body == {}


def test_news_are_what_is_new_or_has_changed(api):
    def page(*items):
        return {"items": list(items), "next_cursor": None}

    api.on("GET", "/executions", 200, page(execution("running", 2), execution("pending", 1)))
    api.on("GET", "/executions", 200, page(execution("running", 2), execution("succeeded", 1)))
    api.on("GET", "/executions", 200, page(execution("pending", 3), execution("running", 2, attempt_count=1)))
    news = News(Api(api.url), "/executions", {})
    looks = [[(item["id"][-1], item["status"]) for item in news.look()] for _ in range(4)]
    assert looks == [
        [("1", "pending"), ("2", "running")], [("1", "succeeded")], [("2", "running"), ("3", "pending")], [],
    ]  # fmt: skip


def test_an_unfinished_execution_is_followed_when_newer_ones_push_it_off_the_page(api):
    api.on("GET", "/executions", 200, {"items": [execution("running", 1)], "next_cursor": None})
    api.on("GET", "/executions", 200, {"items": [execution("succeeded", 2)], "next_cursor": None})
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution("running", 1))
    api.on("GET", f"/executions/{ID[:-1]}1", 200, execution("failed", 1))
    news = News(Api(api.url), "/executions", {})
    looks = [[(item["id"][-1], item["status"]) for item in news.look()] for _ in range(4)]
    assert looks == [[("1", "running")], [("2", "succeeded")], [("1", "failed")], []]


def test_a_look_goes_back_as_far_as_there_is_news(api):
    pages = [
        {"items": [execution("succeeded", n)], "next_cursor": cursor} for n, cursor in ((3, "a"), (2, "b"), (1, None))
    ]
    for page in [*pages, pages[0]]:
        api.on("GET", "/executions", 200, page)
    news = News(Api(api.url), "/executions", {})
    assert [item["id"][-1] for item in news.look()] == ["1", "2", "3"]
    assert news.look() == []
    assert len(api.calls) == 4


def test_executions_are_filtered_by_every_status_given(api, run):
    api.on("GET", f"/jobs/{JOB_ID}/executions", 200, {"items": [], "next_cursor": None})
    ended = run("execution", "list", JOB_ID, "--status", "failed", "--status", "skipped", "--trigger", "replay")
    assert (ended.out, ended.err) == ("", "no executions\n")
    assert api.calls[0].query["status"] == ["failed", "skipped"]
    assert api.calls[0].query["trigger"] == ["replay"]


def test_an_id_that_is_none_is_refused_here(api, run):
    ended = run("execution", "get", "../jobs")
    assert ended.status == 2
    assert api.calls == []


def test_a_cluster_without_quorum_says_so(api, run):
    worker = {"url": "http://w1", "reachable": False, "problems": ["does not answer"]}
    status = {"cluster_id": None, "leader": None, "term": None, "has_quorum": False, "workers": [worker], "nodes": []}
    api.on("GET", "/cluster/status", 200, status)
    ended = run("cluster", "status")
    assert "has NO quorum" in ended.out
    assert "does not answer" in ended.out


def test_operators_commands_reach_their_endpoints(api, run):
    for method, path in (("POST", "transfer-leadership"), ("POST", "snapshot"), ("PUT", "log-level")):
        api.on(method, f"/cluster/{path}", 202, {"message": f"{path} begun"})
    assert run("cluster", "transfer-leadership", "--to", "node-2").out == "transfer-leadership begun\n"
    assert run("cluster", "snapshot").status == 0
    assert run("cluster", "log-level", "debug").status == 0
    assert [call.body for call in api.calls] == [{"to": "node-2"}, None, {"level": "debug"}]


def test_verify_ends_with_1_unless_everybody_agrees(api, run):
    same = {"index": 7, "agrees": True, "digests": [{"node_id": "n1", "sha256": "ab"}], "missing": []}
    api.on("POST", "/cluster/verify", 200, same)
    api.on("POST", "/cluster/verify", 200, {**same, "agrees": False, "missing": ["n2"]})
    ended = run("cluster", "verify")
    assert (ended.status, "all live workers hold the same rows" in ended.out) == (0, True)
    ended = run("cluster", "verify", "--wait", "5s")
    assert (ended.status, "do NOT agree; no answer from n2" in ended.out) == (1, True)


def test_a_schedule_that_is_none_is_status_2_with_its_hint(api, run):
    answer = {
        "valid": False, "description": None, "next": [],
        "violations": [{"pointer": "/schedule", "message": "bad", "accepted": "5 fields"}],
    }  # fmt: skip
    api.on("POST", "/schedules/validate", 200, answer)
    ended = run("schedule", "validate", "x")
    assert ended.status == 2
    assert "/schedule: bad; accepted: 5 fields" in ended.err


def test_the_coming_fire_times_alone(api, run):
    times = [{"fire_time": "2030-01-01T00:00:00.000Z", "local": "2030-01-01T01:00:00+01:00", "dst": None}]
    api.on("POST", "/schedules/validate", 200, {"valid": True, "description": "d", "next": times, "violations": []})
    ended = run("schedule", "next", "@daily", "--timezone", "Europe/Berlin", "-o", "json")
    assert json.loads(ended.out) == times
    assert api.calls[0].body == {"schedule": "@daily", "timezone": "Europe/Berlin", "count": 10}


@pytest.mark.parametrize("document", [{"url": "http://x/"}, {"name": "n", "webhook": {"url": "http://x/"}}])
def test_a_webhook_is_tried_from_its_own_file_or_its_jobs(api, run, tmp_path, document):
    (tmp_path / "w.json").write_text(json.dumps(document))
    answer = {"request": {}, "response": None, "error_code": "timeout", "error": "no answer in 2 s", "timings_ms": {}}
    api.on("POST", "/webhooks/test", 200, answer)
    ended = run("webhook", "test", "-f", str(tmp_path / "w.json"), "--timeout", "2s")
    assert ended.status == 7
    assert "no answer in 2 s" in ended.err
    assert api.calls[0].body == {"webhook": {"url": "http://x/"}, "timeout": "2s"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion(run, shell):
    assert "_CHRONOSCTL_COMPLETE" in run("completion", shell).out


def test_the_version_is_told(run):
    assert run("version").out.startswith("chronosctl ")
