"""Three workers: the leader is killed, and everything is accounted for."""

import os
import sqlite3
from contextlib import closing

import pytest
import requests
import schemathesis
import yaml
from schemathesis import GenerationMode

from chronos_common.commands import CreateJob
from chronos_common.errors import ChronosError
from chronos_common.models import ConcurrencyPolicy, ExecutionStatus, HttpTarget, JobSpec
from chronos_common.protocol import CompareReplicas, GetCounts, GetJob, decode_result
from tests.support.cluster import cluster
from tests.support.ledger import all_executions, wait_until_accounted
from tests.support.openapi import deviations, operations_of
from tests.support.processes import Process, free_port, wait_for
from tests.support.sink import sink

LIVE_EXAMPLES = int(os.environ.get("CHRONOS_LIVE_EXAMPLES", "3"))
"""Requests to each endpoint of a live cluster."""


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def create(client, name, url, **spec):
    job = JobSpec(name, HttpTarget(url), concurrency=ConcurrencyPolicy.ALLOW, **spec)
    return client.propose(CreateJob(job), command_id=name, fingerprint=b"f", principal="t").answer.job


def test_every_node_dispatches_and_a_killed_leader_loses_nothing(tmp_path):
    with sink() as target, cluster(tmp_path) as nodes:
        first_leader = nodes.leader()
        jobs = [create(nodes.client, f"job-{n}", target.url, schedule="* * * * * *") for n in range(6)]
        wait_for(lambda: len(target.requests) >= 30, "thirty executions")
        used = {a.node_id for job in jobs for e in all_executions(nodes.client, job.id) for a in e.attempts}
        assert used == {"n1", "n2", "n3"}

        nodes.kill(first_leader)
        second_leader = nodes.leader()
        assert second_leader != first_leader
        seen = len(target.requests)
        wait_for(lambda: len(target.requests) >= seen + 30, "thirty more executions")
        nodes.start(first_leader)
        nodes.leader()
        seen = len(target.requests)
        wait_for(lambda: len(target.requests) >= seen + 30, "thirty more executions")

        wait_until_accounted(nodes.client, jobs, 1_000)
        for job in jobs:
            executions = all_executions(nodes.client, job.id)
            assert len({execution.fire_time for execution in executions}) == len(executions)
            for execution in executions:
                if execution.status is ExecutionStatus.SUCCEEDED:
                    assert target.requests[execution.id] >= 1
                assert len(set(target.attempts[execution.id])) == len(target.attempts[execution.id])


def test_replicas_are_compared_and_a_row_changed_by_hand_is_found(tmp_path):
    with cluster(tmp_path) as nodes:
        leader = nodes.leader()
        create(nodes.client, "kept", "http://127.0.0.1:9/")
        compared = nodes.client.admin(CompareReplicas(10_000))
        assert compared.missing == ()
        assert (sorted(compared.digests), len(set(compared.digests.values()))) == (["n1", "n2", "n3"], 1)

        victim = next(name for name in nodes.names if name != leader)
        nodes.kill(victim)
        with closing(sqlite3.connect(tmp_path / victim / "chronos.sqlite3")) as database, database:
            database.execute("UPDATE jobs SET updated_at = updated_at + 1")
        nodes.start(victim)
        nodes.leader()
        compared = nodes.client.admin(CompareReplicas(10_000))
        assert compared.missing == ()
        others = {digest for name, digest in compared.digests.items() if name != victim}
        assert len(others) == 1
        assert compared.digests[victim] not in others
        # The node that answered had heard of all; the victim hears of its own finding a moment later.
        wait_for(
            lambda: any("replicas differ" in problem for problem in nodes.status(victim).problems),
            "the victim to say that it differs",
        )


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_a_live_cluster_answers_as_its_document_says(tmp_path, mode):
    with cluster(tmp_path) as nodes:
        nodes.leader()
        port = free_port()
        config = yaml.safe_load((tmp_path / "n1.yaml").read_text())
        config["server"] = {"http": {"address": f"127.0.0.1:{port}"}}
        (tmp_path / "api.yaml").write_text(yaml.safe_dump(config))
        api = Process("chronos_api", tmp_path / "api.yaml", tmp_path / "api.log")
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{base}/health/ready"), "the API to be ready")
            schema = schemathesis.openapi.from_url(f"{base}/api/openapi.json")
            found = deviations(operations_of(schema), mode, LIVE_EXAMPLES)
            assert not found, "\n\n".join(found)
        finally:
            api.close()


def test_the_last_node_does_not_wait_for_a_quorum_that_is_gone(tmp_path):
    with cluster(tmp_path) as nodes:
        nodes.leader()
        for name in ("n2", "n3"):
            nodes.kill(name)
        wait_for(lambda: not nodes.status("n1").has_quorum, "n1 to notice")
        assert nodes.processes["n1"].terminate(timeout_s=15) == 0  # its grace is 30 s


def test_without_a_quorum_writes_are_unavailable_and_reads_say_how_old_they_are(tmp_path):
    with cluster(tmp_path) as nodes:
        nodes.leader()
        job = create(nodes.client, "kept", "http://127.0.0.1:9/")
        survivor = "n1"
        wait_for(lambda: nodes.status(survivor).applied_index >= nodes.status("n2").applied_index, "n1 to be level")
        for name in ("n2", "n3"):
            nodes.kill(name)
        wait_for(lambda: not nodes.status(survivor).has_quorum, "n1 to notice")
        with pytest.raises(ChronosError) as caught:
            create(nodes.client, "refused", "http://127.0.0.1:9/")
        assert caught.value.http_status == 503
        assert caught.value.retry_after_s
        found = nodes.client.query(GetJob(job.id))
        assert decode_result(GetJob(job.id), found).id == job.id
        assert found.age_ms > 0
        nodes.start("n2", "n3")
        nodes.leader()
        assert create(nodes.client, "accepted", "http://127.0.0.1:9/").version == 1
        assert decode_result(GetCounts(), nodes.client.query(GetCounts(), strong=True)).jobs >= 2
