"""Every data directory a released version has left is opened by this one, with all that is in it, and worked on."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from chronos_api.cluster_client import ClusterClient
from chronos_common import VERSION
from chronos_common.commands import CreateJob, TriggerJob
from chronos_common.models import AttemptStatus, ExecutionStatus, HttpTarget, JobSpec, is_final
from chronos_common.protocol import FindJobs, GetExecution, decode_result
from chronos_worker.store.database import Database
from tests.support.processes import SECRET, wait_for, worker_in_thread, write_config
from tests.support.sink import sink
from tests.upgrade.kept import executions_of, jobs_of, kept, manifest_of, tables_of, unpack_into

ROOT = Path(__file__).parents[2]


def test_every_released_version_has_left_a_directory():
    released = re.findall(
        r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(released) <= {directory.name for directory in kept()}
    assert kept()


@pytest.fixture(params=kept(), ids=lambda directory: directory.name)
def left(request, tmp_path):
    """(its manifest, where it was unpacked)"""
    return manifest_of(request.param), unpack_into(request.param, tmp_path)


def test_all_rows_are_there_in_the_newest_schema(left):
    manifest, data = left
    with closing(Database(data / "chronos.sqlite3")) as database, database.read() as connection:
        assert database.applied()[0] == manifest["applied_index"]
        assert jobs_of(connection) == manifest["jobs"]
        assert executions_of(connection) == manifest["executions"]
        assert tables_of(connection, manifest["tables"]) == manifest["tables"]


def test_a_worker_goes_on_where_the_old_one_was_killed(left, tmp_path):
    manifest, data = left
    config = write_config(tmp_path, manifest["node_id"])
    with sink() as target, worker_in_thread(config) as (worker, loaded):
        client = ClusterClient([f"http://{loaded.cluster.control.address}"], SECRET)

        def ask(change, key):
            return client.propose(change, command_id=key, fingerprint=b"f", principal="t").answer

        def execution(execution_id):
            return decode_result(GetExecution(execution_id), client.query(GetExecution(execution_id)))

        names = tuple(job["name"] for job in manifest["jobs"])
        found = decode_result(FindJobs(names), client.query(FindJobs(names)))
        assert {job.spec.name: (job.id, job.version) for job in found} == {
            job["name"]: (job["id"], job["version"]) for job in manifest["jobs"]
        }
        for before in manifest["executions"]:
            if before["status"] in ("pending", "running"):
                wait_for(lambda i=before["id"]: is_final(execution(i).status), f"{before['id']} to end")
                first, *more = execution(before["id"]).attempts
                assert first.status is AttemptStatus.LOST
                assert more
            else:
                assert execution(before["id"]).status.value == before["status"]
        job = ask(CreateJob(JobSpec("made by a later version", HttpTarget(target.url))), "create").job
        started = ask(TriggerJob(job.id), "trigger").execution.id
        wait_for(lambda: execution(started).status is ExecutionStatus.SUCCEEDED, "a new execution to succeed")
        assert worker.node.view.level >= manifest["level"]
    assert (data / "version").read_text() == VERSION
