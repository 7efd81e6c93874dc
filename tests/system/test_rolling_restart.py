"""Three workers under load, each in turn told to stop and started again, as for an upgrade."""

import time
from itertools import pairwise

from chronos_common.commands import CreateJob, TriggerJob
from chronos_common.models import AttemptStatus, ConcurrencyPolicy, ExecutionStatus, HttpTarget, JobSpec
from chronos_common.protocol import GetExecution, decode_result
from chronos_worker.skew import BOUND_MS
from tests.support.cluster import cluster
from tests.support.ledger import all_executions, unaccounted
from tests.support.processes import wait_for
from tests.support.sink import sink

JOBS = 6
SECOND_MS = 1_000


def create(client, name, url, **spec):
    job = JobSpec(name, HttpTarget(url), concurrency=ConcurrencyPolicy.ALLOW, **spec)
    return client.propose(CreateJob(job), command_id=name, fingerprint=b"f", principal="t").answer.job


def trigger(client, job, key):
    outcome = client.propose(TriggerJob(job.id), command_id=key, fingerprint=b"f", principal="t")
    return outcome.answer.execution.id


def execution(client, execution_id):
    return decode_result(GetExecution(execution_id), client.query(GetExecution(execution_id), strong=True))


def largest_gap_s(times, since, until):
    within = [since, *(at for at in sorted(times) if since < at < until), until]
    return max(later - earlier for earlier, later in pairwise(within))


def test_a_rolling_restart_under_load_misses_nothing_and_loses_no_attempt(tmp_path):
    with sink() as target, cluster(tmp_path) as nodes:
        leader = nodes.leader()
        jobs = [create(nodes.client, f"job-{n}", f"{target.url}?ms=300", schedule="* * * * * *") for n in range(JOBS)]
        wait_for(lambda: len(target.requests) >= 2 * JOBS, "two rounds")
        for name in [*(name for name in nodes.names if name != leader), leader]:
            led, began_s = nodes.leader() == name, time.monotonic()
            assert nodes.drain(name) == 0
            assert "worker_stopped" in (tmp_path / f"{name}.log").read_text()
            nodes.start(name)
            nodes.leader()
            seen = len(target.requests)
            wait_for(lambda seen=seen: len(target.requests) >= seen + 2 * JOBS, "two more rounds")
            gap_s = largest_gap_s(target.arrived_s, began_s, time.monotonic())
            role = "leader" if led else "follower"
            print(f"{name} ({role}) restarted; longest pause between requests {gap_s:.2f} s")  # noqa: T201 - pytest -s
        wait_for(lambda: len(nodes.status(nodes.leader()).clocks) == len(nodes.names) - 1, "clocks to be compared")
        clocks = nodes.status(nodes.leader()).clocks
        assert all(abs(clock.offset_ms) - clock.error_ms < BOUND_MS for clock in clocks)

        until = time.time_ns() // 1_000_000_000 * SECOND_MS - 3 * SECOND_MS
        wait_for(lambda: nothing_active_before(nodes.client, jobs, until), "what was due to end")
        for job in jobs:
            due = [found for found in all_executions(nodes.client, job.id) if found.fire_time < until]
            assert unaccounted(due, SECOND_MS, job.next_fire_time, until) == []
            assert {(found.status, found.lost_count, found.attempt_count) for found in due} == {
                (ExecutionStatus.SUCCEEDED, 0, 1)
            }
            assert all(target.requests[found.id] == 1 for found in due)


def nothing_active_before(client, jobs, until):
    return not any(
        found.status in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)
        for job in jobs
        for found in all_executions(client, job.id)
        if found.fire_time < until
    )


def test_a_draining_node_finishes_what_ends_within_its_grace_and_leaves_the_rest_to_others(tmp_path):
    with sink() as target, cluster(tmp_path, drain_grace="2s") as nodes:
        nodes.leader()
        slow = create(nodes.client, "slow", f"{target.url}?ms=1000")
        hanging = create(nodes.client, "hanging", f"{target.url}hang")
        hangs = [trigger(nodes.client, hanging, f"hang-{n}") for n in range(6)]
        wait_for(lambda: len(target.requests) == 6, "six hanging requests")
        where = {found: execution(nodes.client, found).attempts[0].node_id for found in hangs}
        victim = where[hangs[0]]
        slows = [trigger(nodes.client, slow, f"slow-{n}") for n in range(6)]
        assert nodes.drain(victim) == 0

        left = [found for found in hangs if where[found] == victim]
        wait_for(
            lambda: all(execution(nodes.client, found).status is ExecutionStatus.SUCCEEDED for found in left),
            "others to take over",
        )
        for found in left:
            first, second = execution(nodes.client, found).attempts
            assert (first.status, first.node_id, second.status) == (
                AttemptStatus.LOST, victim, AttemptStatus.SUCCEEDED,
            )  # fmt: skip
            assert second.node_id != victim
        for found in slows:
            (only,) = execution(nodes.client, found).attempts
            assert only.status is AttemptStatus.SUCCEEDED
        target.released.set()
        stayed = [found for found in hangs if found not in left]
        wait_for(
            lambda: all(execution(nodes.client, found).status is ExecutionStatus.SUCCEEDED for found in stayed),
            "the others' own requests to end",
        )
        assert all(len(execution(nodes.client, found).attempts) == 1 for found in stayed)
