"""Backup and restore over the API: who may, what is refused, and how a transfer ends."""

import base64

import pytest

from chronos_api.app import create_app
from chronos_api.backup_stream import open_backup
from chronos_api.cluster_client import ClusterClient
from chronos_api.settings import ApiSettings
from chronos_common.backups import MAX_PIECE_BYTES
from chronos_common.errors import Conflict, Unavailable
from chronos_common.protocol import (
    BackupReady,
    BackupUnderWay,
    Done,
    PrepareBackup,
    ReadBackup,
    ReleaseBackup,
)
from tests.support.processes import SECRET, free_port, wait_for

NAME = "0" * 64
TOO_MUCH = base64.b64encode(bytes(MAX_PIECE_BYTES + 1)).decode()
BEGIN = {"backup": NAME, "schema": "0001", "index": 1, "taken_at": "2030-01-01T00:00:00Z"}


def test_a_backup_is_sent_with_its_length_its_index_and_its_time(api):
    answer = api.get("/api/v1/cluster/backup")
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert int(answer.headers["X-Chronos-Index"]) > 0
    assert answer.headers["X-Chronos-Taken-At"].endswith("Z")
    assert answer.data.endswith(b"CHRONOSB")


def test_one_backup_at_a_time_and_a_transfer_given_up_makes_room(api):
    first = api.get("/api/v1/cluster/backup", buffered=False)
    part = next(first.response)
    assert part
    refused = api.get("/api/v1/cluster/backup")
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    first.close()
    wait_for(lambda: api.get("/api/v1/cluster/backup").status_code == 200, "the next backup")


def test_only_the_headers_may_be_asked_for(api):
    def asked():
        with api.head("/api/v1/cluster/backup") as answer:
            return answer.status_code == 200

    wait_for(asked, "the headers")
    wait_for(lambda: api.get("/api/v1/cluster/backup").status_code == 200, "a backup after that")


@pytest.mark.parametrize(
    ("way", "body", "pointer"),
    [
        ("", {**BEGIN, "backup": "0"}, "/backup"),
        ("", {**BEGIN, "backup": "G" * 64}, "/backup"),
        ("", {**BEGIN, "index": -1}, "/index"),
        ("", {**BEGIN, "taken_at": "yesterday"}, "/taken_at"),
        ("/rows", {"backup": NAME, "number": 0, "data": "AA=="}, "/number"),
        ("/rows", {"backup": NAME, "number": 1, "data": "no base64"}, "/data"),
        ("/rows", {"backup": NAME, "number": 1, "data": ""}, "/data"),
        ("/rows", {"backup": NAME, "number": 1, "data": TOO_MUCH}, "/data"),
        ("/end", {"backup": NAME, "rows": {"nodes": 1}, "chain": NAME}, "/rows"),
        ("/end", {"backup": NAME, "rows": {"jobs": 0}, "chain": NAME}, "/rows"),
        ("/end", {"backup": NAME, "rows": {"jobs": 1}, "chain": "x"}, "/chain"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_step_of_a_restore_is_refused_by_its_field(api, way, body, pointer):
    answer = api.post(f"/api/v1/cluster/restore{way}", json=body)
    assert answer.status_code == 422
    assert [violation["pointer"] for violation in answer.json["violations"]] == [pointer]
    assert answer.json["violations"][0]["accepted"]


def test_a_cluster_with_jobs_and_a_schema_nobody_knows_are_refused(api, job):
    answer = api.post("/api/v1/cluster/restore", json=BEGIN)
    assert answer.status_code == 409
    assert "this cluster holds" in answer.json["detail"]
    answer = api.post("/api/v1/cluster/restore", json={**BEGIN, "schema": "9999"})
    assert answer.status_code == 422
    assert "restores 0001" in answer.json["detail"]
    assert api.delete("/api/v1/cluster/restore").json["state"] == "none"
    assert job["id"]


class Scripted(ClusterClient):
    """Workers that answer what they are told to."""

    def __init__(self, **replies):
        super().__init__(replies, SECRET)
        self.replies = replies
        self.asked = []

    def admin_of(self, worker, call, *, timeout_s=10.0):
        del timeout_s
        self.asked.append((worker, type(call)))
        reply = self.replies[worker].pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def test_a_worker_that_does_not_answer_is_passed_over_and_a_conflict_is_not():
    ready = BackupReady("t", 5, 1, 1)
    client = Scripted(a=[Unavailable("gone")], b=[ready])
    assert open_backup(client).ready == ready
    assert [worker for worker, _ in client.asked] == ["a", "b"]
    with pytest.raises(Conflict):
        open_backup(Scripted(a=[Conflict("busy")], b=[ready]))
    with pytest.raises(Unavailable, match="gone"):
        open_backup(Scripted(a=[Unavailable("gone")]))


def test_a_copy_being_made_asks_the_client_to_come_back():
    with pytest.raises(Unavailable) as told:
        open_backup(Scripted(a=[BackupUnderWay()]))
    assert told.value.retry_after_s == 1.0


def test_a_backup_that_vanishes_in_the_middle_ends_the_transfer_and_is_released():
    client = Scripted(a=[BackupReady("t", 5, 1, 1), Unavailable("gone"), Done()])
    backup = open_backup(client)
    with pytest.raises(Unavailable):
        list(backup)
    assert [kind for _, kind in client.asked] == [PrepareBackup, ReadBackup, ReleaseBackup]


def test_workers_that_do_not_answer_at_all_are_503():
    settings = ApiSettings((f"http://127.0.0.1:{free_port()}",), SECRET, open_access=True)
    answer = create_app(settings).test_client().get("/api/v1/cluster/backup")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
