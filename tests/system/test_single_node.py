"""A worker as a process: it is killed, it comes back, and nothing is missing."""

import contextlib
import sqlite3
import subprocess
import sys
import time

from chronos_api.cluster_client import ClusterClient
from chronos_common.commands import CreateJob
from chronos_common.config import load_config
from chronos_common.errors import ChronosError
from chronos_common.models import ConcurrencyPolicy, ExecutionStatus, HttpTarget, JobSpec
from chronos_common.protocol import GetJob, decode_result
from tests.support.ledger import all_executions, unaccounted
from tests.support.processes import SECRET, Process, free_port, wait_for, worker_status, write_config
from tests.support.sink import sink


def start(config_path, tmp_path):
    config = load_config(config_path, {})
    url = f"http://{config.cluster.control.address}"
    process = Process("chronos_worker", config_path, tmp_path / "worker.log")
    wait_for(lambda: (status := worker_status(url)) and status.ready, "the worker to be ready")
    return process, ClusterClient([url], SECRET)


def create(client, name, url, **spec):
    job = JobSpec(name, HttpTarget(url), concurrency=ConcurrencyPolicy.ALLOW, **spec)
    change = CreateJob(job)
    return client.propose(change, command_id=name, fingerprint=b"f", principal="test").answer.job


def test_after_kill_9_every_occurrence_is_in_the_ledger_and_repeats_keep_their_id(tmp_path):
    config_path = write_config(tmp_path)
    with sink() as target:
        process, client = start(config_path, tmp_path)
        jobs = [create(client, f"job-{n}", target.url, schedule="* * * * * *") for n in range(5)]
        wait_for(lambda: len(target.requests) >= 10, "ten executions")
        for _ in range(2):
            process.kill()
            process.close()
            process, client = start(config_path, tmp_path)
            seen = len(target.requests)
            wait_for(lambda seen=seen: len(target.requests) >= seen + 10, "ten more executions")
        until = time.time_ns() // 1_000_000_000 * 1_000 - 1_000
        for job in jobs:
            executions = all_executions(client, job.id)
            assert unaccounted(executions, 1_000, job.next_fire_time, until) == []
            assert len({execution.fire_time for execution in executions}) == len(executions)
            for execution in executions:
                if execution.status is ExecutionStatus.SUCCEEDED:
                    assert target.requests[execution.id] >= 1
        recorded = {execution.id for job in jobs for execution in all_executions(client, job.id)}
        assert set(target.requests) <= recorded
        assert process.terminate() == 0
        process.close()


def test_sigterm_drains_and_the_next_start_goes_on(tmp_path):
    config_path = write_config(tmp_path)
    with sink() as target:
        process, client = start(config_path, tmp_path)
        job = create(client, "steady", target.url, schedule="* * * * * *")
        wait_for(lambda: len(target.requests) >= 2, "two executions")
        assert process.terminate() == 0
        process.close()
        process, client = start(config_path, tmp_path)
        seen = len(target.requests)
        wait_for(lambda: len(target.requests) >= seen + 2, "two more executions")
        executions = all_executions(client, job.id)
        assert all(execution.lost_count == 0 for execution in executions)
        assert {execution.attempt_count for execution in executions} <= {0, 1}
        process.terminate()
        process.close()


def test_a_defect_in_a_step_ends_the_process_instead_of_leaving_it_half_alive(tmp_path):
    config_path = write_config(tmp_path)
    program = (
        "import sys; from pathlib import Path; from chronos_worker import __main__, node\n"
        "node.Node._perform = lambda self, effects: undefined_name\n"
        "sys.exit(__main__.run(Path(sys.argv[1])))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(config_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 70
    assert "undefined_name" in ended.stdout + ended.stderr


def test_a_taken_port_is_named(tmp_path):
    port = free_port()
    config_path = write_config(tmp_path)
    process, _ = start(config_path, tmp_path)
    text = config_path.read_text()
    control = load_config(config_path, {}).cluster.control.address
    other = tmp_path / "other.yaml"
    other.write_text(
        text.replace("node_id: node-1", "node_id: other").replace(str(tmp_path / "node-1"), str(tmp_path / "o"))
    )
    second = Process("chronos_worker", other, tmp_path / "second.log")
    assert second.popen.wait(timeout=20) == 4
    assert control in second.output(), (port, second.output())
    assert "Traceback" not in second.output()
    second.close()
    process.terminate()
    process.close()


def test_a_data_directory_in_use_and_one_of_another_node_are_refused(tmp_path):
    config_path = write_config(tmp_path)
    process, _ = start(config_path, tmp_path)
    second = Process("chronos_worker", config_path, tmp_path / "second.log")
    assert second.popen.wait(timeout=20) == 3
    assert f"in use by process {process.popen.pid}" in second.output()
    second.close()
    process.terminate()
    process.close()
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(config_path.read_text().replace("node_id: node-1", "node_id: node-2"))
    third = Process("chronos_worker", renamed, tmp_path / "third.log")
    assert third.popen.wait(timeout=20) == 3
    assert "belongs to node 'node-1'" in third.output()
    third.close()


def test_a_configuration_with_a_typo_is_refused_with_the_path(tmp_path):
    config_path = write_config(tmp_path, dispatcher={"seets": 5})
    process = Process("chronos_worker", config_path, tmp_path / "worker.log")
    assert process.popen.wait(timeout=20) == 2
    assert "dispatcher.seets is not a key of the configuration; did you mean seats?" in process.output()
    process.close()


def test_a_full_disk_stops_the_worker_with_a_reason_and_loses_nothing_acknowledged(tmp_path):
    config_path = write_config(tmp_path)
    config = load_config(config_path, {})
    url = f"http://{config.cluster.control.address}"
    process = Process("chronos_worker", config_path, tmp_path / "full.log", largest_file=600_000)
    wait_for(lambda: (status := worker_status(url)) and status.ready, "the worker to be ready")
    client = ClusterClient([url], SECRET)
    acknowledged = []
    description = "x" * 4_000
    while process.popen.poll() is None:
        name = f"job-{len(acknowledged)}"
        try:
            acknowledged.append(create(client, name, "http://127.0.0.1:9/", description=description).id)
        except ChronosError:
            break
    assert process.popen.wait(timeout=20) == 70
    assert "Traceback" not in process.output()
    assert "worker_failed" in process.output()
    process.close()
    assert len(acknowledged) >= 5
    process, client = start(config_path, tmp_path)
    kept = [decode_result(GetJob(job_id), client.query(GetJob(job_id))) for job_id in acknowledged]
    assert all(job is not None for job in kept)
    process.terminate()
    process.close()


def test_an_unwritable_data_directory_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    config_path = write_config(tmp_path)
    config_path.write_text(config_path.read_text().replace(str(tmp_path / "node-1"), str(blocked / "data")))
    process = Process("chronos_worker", config_path, tmp_path / "worker.log")
    assert process.popen.wait(timeout=20) == 3
    assert str(blocked / "data") in process.output()
    assert "Traceback" not in process.output()
    process.close()


def test_data_of_a_newer_version_is_refused(tmp_path):
    config_path = write_config(tmp_path)
    process, _ = start(config_path, tmp_path)
    process.terminate()
    process.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "node-1" / "chronos.sqlite3")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    process = Process("chronos_worker", config_path, tmp_path / "newer.log")
    assert process.popen.wait(timeout=20) == 3
    assert "schema 9999" in process.output()
    process.close()
