"""What surrounds the resources: health, metrics, documents, keys, limits, no worker."""

import msgspec
import pytest

from chronos_api.app import create_app
from chronos_api.keys import hash_key
from chronos_api.resources.cluster import cluster_answer
from chronos_api.settings import settings_from
from chronos_common.config.keys import ApiKey
from chronos_common.protocol import ClockReading
from tests.support.processes import free_port, worker_status


def changed(worker, **fields):
    import dataclasses

    return dataclasses.replace(settings_from(worker[1]), **fields)


@pytest.fixture(scope="module")
def locked(worker):
    keys = tuple(ApiKey(scope, hash_key(f"key-{scope}"), scope) for scope in ("read", "write", "admin"))
    return create_app(changed(worker, keys=keys, open_access=False)).test_client()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_health_tells_live_from_ready(api):
    assert api.get("/health").json["status"] == "ok"
    assert api.get("/health/live").json == {"status": "ok"}
    assert api.get("/health/ready").json["leader"] == "node-1"


def test_the_cluster_status_shows_every_worker(api):
    status = api.get("/api/v1/cluster/status").json
    assert (status["leader"], status["has_quorum"]) == ("node-1", True)
    assert status["workers"][0]["role"] == "leader"
    assert status["nodes"][0]["state"] == "live"


def test_the_cluster_status_shows_clocks_as_the_leader_measured_them(worker):
    status = worker_status(f"http://{worker[1].cluster.control.address}")
    follower = msgspec.structs.replace(status, node_id="node-2", role="follower")
    silent = msgspec.structs.replace(follower, node_id="node-3")
    leader = msgspec.structs.replace(status, clocks=(ClockReading("node-2", -1_500, 3),))
    shown = cluster_answer({"http://1": leader, "http://2": follower, "http://3": silent})
    clocks = [(worker["clock_skew_ms"], worker["clock_error_ms"]) for worker in shown["workers"]]
    assert clocks == [(0, 0), (-1_500, 3), (None, None)]


def test_the_metrics_have_the_promised_names(api, job):
    text = api.get("/metrics").text
    for name in (
        "chronos_jobs_total", "chronos_jobs_enabled", "chronos_executions_total", "chronos_raft_is_leader",
        "chronos_raft_peers", "chronos_raft_term", "chronos_raft_commit_index", "chronos_raft_applied_index",
        "chronos_lateness_seconds", "chronos_dispatch_queue_depth", "chronos_dispatch_in_flight",
        "chronos_retries_total", "chronos_circuit_breakers_open", "chronos_commit_latency_seconds",
        "chronos_snapshot_age_seconds", "chronos_clock_steps_total", "chronos_clock_skew_seconds",
    ):  # fmt: skip
        assert name in text, name
    assert job["id"] not in text


def test_the_document_is_openapi_3_1_and_names_every_promised_path(api):
    document = api.get("/api/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path in (
        "/health", "/api/v1/jobs", "/api/v1/jobs/{job_id}", "/api/v1/jobs/{job_id}/trigger", "/api/v1/jobs:batch",
        "/api/v1/jobs/{job_id}/executions", "/api/v1/cluster/status", "/api/v1/schedules/validate",
    ):  # fmt: skip
        assert path in document["paths"], path


def test_swagger_ui_comes_from_ourselves(api):
    page = api.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    assert api.get("/docs/assets/swagger-ui-bundle.js").status_code == 200
    assert api.get("/docs/assets/../../etc/passwd").status_code == 404


def test_without_a_key_nothing_but_health_answers(locked):
    assert locked.get("/health/live").status_code == 200
    answer = locked.get("/api/v1/jobs")
    assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
    assert locked.get("/api/v1/jobs", headers=bearer("wrong")).status_code == 401
    assert locked.get("/metrics").status_code == 401


def test_scopes_include_the_ones_below(locked):
    assert locked.get("/api/v1/jobs", headers=bearer("key-read")).status_code == 200
    assert locked.get("/api/v1/jobs", headers={"X-API-Key": "key-admin"}).status_code == 200
    answer = locked.post("/api/v1/jobs", json={}, headers=bearer("key-read"))
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert locked.post("/api/v1/jobs", json={}, headers=bearer("key-write")).status_code == 422
    assert locked.post("/api/v1/cluster/snapshot", headers=bearer("key-write")).status_code == 403
    assert locked.post("/api/v1/cluster/snapshot", headers=bearer("key-admin")).status_code == 202


def test_a_client_that_sends_too_much_is_told_when_to_come_back(worker):
    client = create_app(changed(worker, requests_per_second=0.1, burst=2)).test_client()
    statuses = [client.get("/api/v1/jobs").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert int(client.get("/api/v1/jobs").headers["Retry-After"]) >= 1


def test_without_a_worker_writes_are_503_and_say_that_nothing_changed(worker, document):
    nobody = changed(worker, workers=(f"http://127.0.0.1:{free_port()}",))
    client = create_app(nobody).test_client()
    answer = client.get("/api/v1/jobs")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert client.get("/health").json["status"] == "unavailable"
    assert client.get("/health/ready").status_code == 503


def test_a_wrong_cluster_secret_reaches_nothing(worker):
    client = create_app(changed(worker, secret="another secret altogether")).test_client()
    assert client.get("/api/v1/jobs").status_code == 503


def test_errors_of_the_framework_are_problems_too(api):
    for path, status in (("/nowhere", 404), ("/api/v1/jobs/not-a-uuid", 404)):
        answer = api.get(path)
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
        assert repr(path) in answer.json["detail"]
    answer = api.delete("/api/v1/jobs")
    assert answer.status_code == 405
    assert answer.json["detail"] == "DELETE is not among the methods here: GET, HEAD, OPTIONS, POST"
    assert "GET" in answer.headers["Allow"]


def test_a_log_level_is_taken_and_nonsense_is_refused(api):
    assert api.put("/api/v1/cluster/log-level", json={"level": "debug"}).status_code == 202
    assert api.put("/api/v1/cluster/log-level", json={"level": "loud"}).status_code == 422


def test_a_cluster_of_one_has_nobody_to_hand_over_to(api):
    answer = api.post("/api/v1/cluster/transfer-leadership")
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_protocol_messages_survive_the_wire():
    from chronos_common.commands import CreateJob
    from chronos_common.models import HttpTarget, JobSpec
    from chronos_common.protocol import Proposal, decode, encode

    proposal = Proposal("k", b"f", "me", CreateJob(JobSpec("a", HttpTarget("http://x"))))
    assert decode(encode(proposal), Proposal) == proposal
    with pytest.raises(msgspec.DecodeError):
        decode(b"\xff", Proposal)
