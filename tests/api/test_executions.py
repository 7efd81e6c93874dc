"""Executions over HTTP: trigger, ledger, replay, cancel."""

import contextlib
import http.server
import threading
from collections import deque

import pytest

from tests.support.processes import wait_for


class Target(http.server.BaseHTTPRequestHandler):
    seen = deque(maxlen=1_000)
    release = threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((dict(self.headers), body))
        if self.path == "/hang":
            self.release.wait(20)
        with contextlib.suppress(BrokenPipeError):  # a cancelled delivery does not wait for it
            self.send_response(500 if self.path == "/fail" else 200)
            self.end_headers()
            self.wfile.write(b"thanks")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def target():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Target.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def create(api, document, url, **more):
    webhook = {"url": url, "method": "POST", "body": {"from": "job"}}
    return api.post("/api/v1/jobs", json={**document, "webhook": webhook, "schedule": None, **more}).json


def finished(api, execution_id):
    def look():
        execution = api.get(f"/api/v1/executions/{execution_id}").json
        return execution if execution["status"] not in ("pending", "running") else None

    return wait_for(look, "the execution to end")


def test_a_trigger_is_accepted_at_once_and_ends_in_the_ledger(api, document, target):
    job = create(api, document, f"{target}/ok", enabled=False)
    answer = api.post(f"/api/v1/jobs/{job['id']}/trigger", json={"payload": {"from": "trigger"}})
    assert answer.status_code == 202
    assert answer.json["status"] == "pending"
    execution = finished(api, answer.json["id"])
    assert (execution["status"], execution["trigger"]) == ("succeeded", "manual")
    assert execution["attempts"][0]["response"]["body"] == "thanks"
    headers, body = next(item for item in Target.seen if item[0]["Idempotency-Key"] == execution["id"])
    assert body == b'{"from":"trigger"}'
    assert headers["X-Chronos-Attempt"] == "1"
    listed = api.get(f"/api/v1/jobs/{job['id']}/executions?total=true").json
    assert (listed["total"], [item["id"] for item in listed["items"]]) == (1, [execution["id"]])


def test_a_trigger_without_a_body_sends_the_jobs_own(api, document, target):
    job = create(api, document, f"{target}/ok")
    execution = finished(api, api.post(f"/api/v1/jobs/{job['id']}/trigger").json["id"])
    assert any(h["Idempotency-Key"] == execution["id"] and b == b'{"from":"job"}' for h, b in Target.seen)


def test_a_failing_target_is_retried_and_the_ledger_says_why(api, document, target):
    policy = {"max_attempts": 2, "initial_interval": "1ms", "max_interval": "1ms"}
    job = create(api, document, f"{target}/fail", retry_policy=policy)
    execution = finished(api, api.post(f"/api/v1/jobs/{job['id']}/trigger").json["id"])
    assert execution["status"] == "failed"
    assert [(a["number"], a["status"], a["http_status"]) for a in execution["attempts"]] == [
        (1, "failed", 500),
        (2, "failed", 500),
    ]
    assert "500" in execution["reason"]


def test_a_replay_sends_the_same_payload_under_a_new_id(api, document, target):
    job = create(api, document, f"{target}/ok")
    source = finished(api, api.post(f"/api/v1/jobs/{job['id']}/trigger", json={"payload": [1]}).json["id"])
    replayed = api.post(f"/api/v1/jobs/{job['id']}/executions/{source['id']}/replay")
    assert replayed.status_code == 202
    execution = finished(api, replayed.json["id"])
    assert (execution["replay_of"], execution["payload"], execution["trigger"]) == (source["id"], [1], "replay")


def test_a_running_execution_can_be_cancelled_once(api, document, target):
    job = create(api, document, f"{target}/hang")
    execution = api.post(f"/api/v1/jobs/{job['id']}/trigger").json
    path = f"/api/v1/executions/{execution['id']}"
    wait_for(lambda: api.get(path).json["status"] == "running", "the execution to run")
    assert api.post(f"{path}/cancel").json["status"] == "cancelled"
    assert api.post(f"{path}/cancel").status_code == 409


def test_the_ledger_is_filtered_by_status_trigger_and_time(api, document, target):
    job = create(api, document, f"{target}/ok")
    execution = finished(api, api.post(f"/api/v1/jobs/{job['id']}/trigger").json["id"])
    path = f"/api/v1/jobs/{job['id']}/executions"
    assert len(api.get(path, query_string={"status": "succeeded", "trigger": "manual"}).json["items"]) == 1
    assert api.get(path, query_string={"status": "failed"}).json["items"] == []
    assert api.get(path, query_string={"until": execution["fire_time"]}).json["items"] == []
    assert len(api.get(path, query_string={"since": execution["fire_time"]}).json["items"]) == 1
    assert api.get(path, query_string={"since": "yesterday"}).status_code == 422


def test_a_webhook_can_be_tried_out(api, target):
    webhook = {"url": f"{target}/ok", "method": "POST", "headers": {"Authorization": "Bearer x"}}
    answer = api.post("/api/v1/webhooks/test", json={"webhook": webhook, "timeout": "5s"})
    assert answer.status_code == 200
    assert answer.json["response"]["status"] == 200
    assert "Bearer x" not in answer.text
    assert answer.json["timings_ms"]["total"] > 0


def test_a_strong_read_sees_what_was_acknowledged(api, job):
    answer = api.get(f"/api/v1/jobs/{job['id']}?consistency=strong")
    assert answer.status_code == 200
    assert answer.headers["X-Chronos-Age-Ms"] == "0"


def test_an_execution_of_another_job_is_not_found_there(api, document, target, job):
    other = create(api, {**document, "name": document["name"] + "o"}, f"{target}/ok")
    execution = api.post(f"/api/v1/jobs/{other['id']}/trigger").json
    assert api.get(f"/api/v1/jobs/{job['id']}/executions/{execution['id']}").status_code == 404
