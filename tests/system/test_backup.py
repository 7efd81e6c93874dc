"""A node is backed up under load and lost; three others take over what it knew, and go on."""

import base64
import sqlite3
from contextlib import closing

import pytest
import requests

from chronos_api.app import create_app
from chronos_api.cluster_client import ClusterClient
from chronos_api.settings import ApiSettings
from chronos_common import ids
from chronos_common.commands import CreateJob
from chronos_common.config import load_config
from chronos_common.models import ConcurrencyPolicy, ExecutionStatus, HttpTarget, JobSpec, is_final
from chronos_common.protocol import CompareReplicas, GetJob, decode_result
from chronos_common.schemas.fields import instant_text
from cli.chronosctl.backup_file import check, pieces
from cli.chronosctl.main import main
from tests.support.api_server import served
from tests.support.cluster import cluster
from tests.support.ledger import all_executions, wait_until_accounted
from tests.support.processes import SECRET, Process, wait_for, worker_status, write_config
from tests.support.sink import sink


def api_of(*workers):
    return served(create_app(ApiSettings(workers, SECRET, open_access=True)))


def chronosctl(url, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["--server", url, *arguments], {"XDG_CONFIG_HOME": "/nonexistent"})
    assert ended.value.code == 0, arguments


def backed_up_under_load(directory, target, path):
    """The jobs of a node that was killed right after the backup of it was taken; one more was created later."""
    config_path = write_config(directory)
    worker = f"http://{load_config(config_path, {}).cluster.control.address}"
    process = Process("chronos_worker", config_path, directory / "worker.log")
    try:
        wait_for(lambda: (status := worker_status(worker)) and status.ready, "the worker to be ready")
        client = ClusterClient([worker], SECRET)
        jobs = [create(client, f"job-{number}", target.url) for number in range(5)]
        wait_for(lambda: len(target.requests) >= 15, "fifteen executions")
        with api_of(worker) as url:
            chronosctl(url, "backup", str(path))
        create(client, "too late", target.url)
    finally:
        process.kill()
        process.close()
    return jobs


def create(client, name, url):
    spec = JobSpec(name, HttpTarget(url), schedule="* * * * * *", concurrency=ConcurrencyPolicy.ALLOW)
    return client.propose(CreateJob(spec), command_id=name, fingerprint=b"f", principal="t").answer.job


def begin_and_leave(url, path):
    """A restore whose client is gone after the first piece."""
    found = check(path, lambda _: None)
    body = {"backup": found.sha256, "schema": found.schema, "index": found.index}
    first = next(pieces(path))
    data = base64.b64encode(first.data).decode()
    for way, sent in (
        ("", body | {"taken_at": instant_text(found.taken_at)}),
        ("/rows", {"backup": found.sha256, "number": first.number, "data": data, "more": first.more}),
    ):
        assert requests.post(f"{url}/api/v1/cluster/restore{way}", json=sent, timeout=20).ok


def ledger_in(path):
    """(id, status) of every execution in a backup."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        found = connection.execute("SELECT id, status FROM executions").fetchall()
    return {ids.to_text(raw_id): ExecutionStatus(status) for raw_id, status in found}


def test_a_backup_taken_under_load_fills_a_cluster_of_three_that_goes_on_where_it_was(tmp_path):
    path = tmp_path / "backup"
    with sink() as target:
        jobs = backed_up_under_load(tmp_path, target, path)
        (tmp_path / "new").mkdir()
        with cluster(tmp_path / "new") as nodes, api_of(*nodes.urls.values()) as url:
            first_leader = nodes.leader()
            begin_and_leave(url, path)
            nodes.kill(first_leader)
            nodes.leader()
            quiet = len(target.requests)
            nodes.start(first_leader)
            nodes.leader()
            assert len(target.requests) == quiet  # half restored, nothing fires
            chronosctl(url, "restore", str(path))
            wait_for(lambda: len(target.requests) >= quiet + 15, "fifteen more executions")
            wait_until_accounted(nodes.client, jobs, 1_000)

            restored = {}
            for job in jobs:
                now = decode_result(GetJob(job.id), nodes.client.query(GetJob(job.id), strong=True))
                assert (now.version, now.spec) == (job.version, job.spec)
                executions = all_executions(nodes.client, job.id)
                assert len({execution.fire_time for execution in executions}) == len(executions)
                restored |= {execution.id: execution for execution in executions}
            backed_up = ledger_in(path)
            assert len(backed_up) >= 10
            assert backed_up.keys() <= restored.keys()
            for execution_id, status in backed_up.items():
                if is_final(status):
                    assert restored[execution_id].status is status
                else:
                    assert restored[execution_id].lost_count == (status is ExecutionStatus.RUNNING)
            compared = nodes.client.admin(CompareReplicas(20_000))
            assert (len(compared.digests), len(set(compared.digests.values()))) == (3, 1)
