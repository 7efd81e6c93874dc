"""What must be true of the ledger when everything has come to rest. Each checker stands by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.models import AttemptStatus, ConcurrencyPolicy, JobSpec
from chronos_common.protocol import ExecutionAccepted, JobChanged, JobDeleted
from chronos_common.schedules import parse_schedule
from chronos_worker.store.rows import decode_extra
from tests.sim.client import Client
from tests.sim.cluster import LawBroken
from tests.sim.targets import Request
from tests.sim.world import World


def check_everything(world: World, client: Client) -> None:
    """Read one replica and hold it against what the world and the client saw."""
    for machine in world.running():
        world.digest(machine)
    process = world.running()[0].process
    assert process is not None
    with process.database.read() as connection:
        acknowledged_is_there(connection, client)
        every_occurrence_is_accounted_for(connection, client)
        everything_ended(connection)
        every_request_is_in_the_ledger(connection, world.targets.requests, client.steady)
        what_succeeded_was_sent(connection, world.targets.requests)
        forbidden_overlaps_are_lost_ones(connection, world.targets.requests, client.steady)
    no_attempt_is_sent_twice(world.targets.requests)
    no_attempt_begins_after_the_next(world.targets.requests)


def acknowledged_is_there(connection: Connection, client: Client) -> None:
    """Every acknowledged change is in the rows, with the answer the client heard."""
    known = dict(connection.exec_driver_sql("SELECT command_id, applied_index FROM outcomes").all())
    for errand in client.errands:
        if known.get(errand.proposal.command_id) != errand.index:
            raise LawBroken(f"{errand.proposal.command_id} was acknowledged at {errand.index} and is not there")
        match errand.answer:
            case JobChanged(job=job):
                if not _has(connection, "SELECT 1 FROM jobs WHERE id = ? AND version >= ?", job.id, job.version):
                    raise LawBroken(f"job {job.id} was acknowledged at version {job.version} and is not there")
            case JobDeleted(job_id=job_id):
                if _has(connection, "SELECT 1 FROM jobs WHERE id = ? AND deleted_at IS NULL", job_id):
                    raise LawBroken(f"job {job_id} was deleted and is there")
            case ExecutionAccepted(execution=execution):
                kept = "SELECT 1 FROM executions WHERE id = ?"
                if execution.job_id in client.steady and not _has(connection, kept, execution.id):
                    raise LawBroken(f"execution {execution.id} was acknowledged and is not there")


def every_occurrence_is_accounted_for(connection: Connection, client: Client) -> None:
    """Between a steady job's creation and its next fire time, each occurrence ran or has a reason."""
    for job_id, spec in client.steady.items():
        raw_id = ids.from_text(job_id)
        seq, created_at, last = connection.exec_driver_sql(
            "SELECT seq, created_at, last_fire_time FROM jobs WHERE id = ?", (raw_id,)
        ).one()
        if spec.schedule is None or last is None:
            continue
        ran, skipped = _answers(connection, seq)
        for fire_time in _occurrences(spec, created_at, last):
            answers = ran.count(fire_time) + sum(first <= fire_time <= final for first, final, _ in skipped)
            if answers != 1:
                raise LawBroken(f"{spec.name} at {fire_time} has {answers} answers in the ledger")
        expected = len(list(_occurrences(spec, created_at, last)))
        recorded = len(ran) + sum(count for _, _, count in skipped)
        if recorded != expected:
            raise LawBroken(f"{spec.name} has {recorded} answers for {expected} occurrences")


def everything_ended(connection: Connection) -> None:
    """Nothing is pending or running any more."""
    left = connection.exec_driver_sql(
        "SELECT hex(id), status, node_id, incarnation FROM executions WHERE status IN ('pending', 'running')"
    ).all()
    if left:
        raise LawBroken(f"these never ended: {left}")


def no_attempt_is_sent_twice(requests: list[Request]) -> None:
    """An attempt belongs to one life of one node, which sends it once."""
    seen: set[tuple[bytes, int]] = set()
    for request in requests:
        key = (request.execution_id, request.attempt)
        if key in seen:
            raise LawBroken(f"{request} was sent before")
        seen.add(key)


def no_attempt_begins_after_the_next(requests: list[Request]) -> None:
    """Who was out of touch until its work was given to others does not begin it when it comes back."""
    latest: dict[bytes, Request] = {}
    for request in sorted(requests, key=lambda request: request.began_at):
        before = latest.setdefault(request.execution_id, request)
        if request.attempt < before.attempt:
            raise LawBroken(f"{request} begins after {before}")
        latest[request.execution_id] = request


def every_request_is_in_the_ledger(
    connection: Connection, requests: list[Request], steady: dict[str, JobSpec]
) -> None:
    """A target never sees what the ledger does not know. Only steady jobs are asked about: others may be pruned."""
    for request in requests:
        if request.job_id in steady and not _has(
            connection,
            "SELECT 1 FROM executions WHERE id = ? AND attempt >= ?",
            request.execution_id,
            request.attempt,
        ):
            raise LawBroken(f"{request} is not in the ledger")


def what_succeeded_was_sent(connection: Connection, requests: list[Request]) -> None:
    """The ledger claims no success that the target did not give."""
    answered = {(request.execution_id, request.attempt) for request in requests if request.answered}
    for raw_id, attempt in connection.exec_driver_sql(
        "SELECT id, attempt FROM executions WHERE status = 'succeeded'"
    ).all():
        if (raw_id, attempt) not in answered:
            raise LawBroken(f"{raw_id.hex()}/{attempt} is recorded as a success that no target gave")


def forbidden_overlaps_are_lost_ones(
    connection: Connection, requests: list[Request], steady: dict[str, JobSpec]
) -> None:
    """Two requests of a `forbid` job at once: only if the attempt of the earlier one was declared lost."""
    by_job: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        spec = steady.get(request.job_id)
        if spec is not None and spec.concurrency is ConcurrencyPolicy.FORBID:
            by_job[request.job_id].append(request)
    for found in by_job.values():
        for earlier, later in pairwise(sorted(found, key=lambda request: request.began_at)):
            overlap = earlier.ended_at is None or later.began_at < earlier.ended_at
            if overlap and not _was_lost(connection, earlier):
                raise LawBroken(f"{later} overlaps {earlier}")


def _was_lost(connection: Connection, request: Request) -> bool:
    return _has(
        connection,
        "SELECT 1 FROM executions e JOIN attempts a ON a.execution_seq = e.seq "
        "WHERE e.id = ? AND a.number = ? AND a.status = ?",
        request.execution_id,
        request.attempt,
        AttemptStatus.LOST.value,
    ) or _has(
        connection,
        "SELECT 1 FROM executions WHERE id = ? AND attempt = ? AND attempt_status = ?",
        request.execution_id,
        request.attempt,
        AttemptStatus.LOST.value,
    )


def _answers(connection: Connection, job_seq: int) -> tuple[list[int], list[tuple[int, int, int]]]:
    """The fire times that have a run, and the stretches that have a reason instead."""
    ran: list[int] = []
    skipped: list[tuple[int, int, int]] = []
    for fire_time, raw in connection.exec_driver_sql(
        "SELECT fire_time, extra FROM executions WHERE job_seq = ? AND cause = 'schedule'", (job_seq,)
    ).all():
        stretch = decode_extra(raw).skipped
        if stretch is None:
            ran.append(fire_time)
        else:
            skipped.append((stretch.first_fire_time, stretch.last_fire_time, stretch.count))
    return ran, skipped


def _occurrences(spec: JobSpec, created_at: int, last: int) -> Iterator[int]:
    assert spec.schedule is not None
    schedule = parse_schedule(spec.schedule, spec.timezone)
    time = schedule.next_after(created_at, created_at)
    while time is not None and time <= last:
        yield time
        time = schedule.next_after(time, created_at)


def _has(connection: Connection, query: str, *values: object) -> bool:
    raw = tuple(ids.from_text(value) if isinstance(value, str) and len(value) == 36 else value for value in values)
    return connection.exec_driver_sql(query, raw).first() is not None
