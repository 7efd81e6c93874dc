"""Applying what clients ask of executions: trigger, replay, cancel."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chronos_common import ids
from chronos_common.commands import CancelExecution, ReplayExecution, TriggerJob
from chronos_common.models import ConcurrencyPolicy, Execution, ExecutionStatus, Trigger
from chronos_common.protocol import ExecutionAccepted, Rejected
from chronos_worker.state_machine.context import Applying
from chronos_worker.state_machine.endings import ACTIVE_COLUMNS, Active, active_of_job, cancel
from chronos_worker.state_machine.jobs import no_such_job
from chronos_worker.state_machine.starting import INSERT_EXECUTION, JobFacts, Starting, start
from chronos_worker.state_machine.transitions import may_move
from chronos_worker.store.execution_queries import get_execution
from chronos_worker.store.rows import Extra, decode_extra, pack

_SELECT_FACTS: Final = "SELECT seq, version, concurrency, max_attempts FROM jobs WHERE deleted_at IS NULL AND "


def trigger_job(tx: Applying, command: TriggerJob, at: int) -> ExecutionAccepted | Rejected:
    """Add a manual execution; the job may be disabled, its concurrency policy still holds."""
    found = tx.row(_SELECT_FACTS + "id = ?", ids.from_text(command.job_id))
    if found is None:
        return no_such_job(command.job_id)
    extra = pack(Extra(payload=command.payload, has_payload=True)) if command.has_payload else None
    return _begin(tx, _facts(found), Starting(command.execution_id, Trigger.MANUAL.value, at, extra), at)


def replay_execution(tx: Applying, command: ReplayExecution, at: int) -> ExecutionAccepted | Rejected:
    """Run again what an earlier execution ran, with the job version and payload it had."""
    source = tx.row("SELECT job_seq, job_version, status, extra FROM executions WHERE id = ?", command.source_id)
    if source is None:
        return _no_such_execution(command.source_id)
    job_seq, job_version, status, raw_extra = source
    if status == ExecutionStatus.SKIPPED:
        return Rejected(
            "conflict",
            f"execution {ids.to_text(command.source_id)} was skipped and has nothing to replay: trigger its job",
        )
    found = tx.row(_SELECT_FACTS + "seq = ?", job_seq)
    if found is None:
        return Rejected("conflict", "the job of this execution was deleted, so it cannot be replayed")
    if tx.row("SELECT 1 FROM job_versions WHERE job_seq = ? AND version = ?", job_seq, job_version) is None:
        return Rejected("conflict", f"version {job_version} of the job is no longer kept, so it cannot be replayed")
    old = decode_extra(raw_extra)
    extra = pack(Extra(payload=old.payload, has_payload=old.has_payload, replay_of=command.source_id))
    facts = msgspec.structs.replace(_facts(found), version=job_version)
    return _begin(tx, facts, Starting(command.execution_id, Trigger.REPLAY.value, at, extra), at)


def cancel_execution(tx: Applying, command: CancelExecution, at: int) -> ExecutionAccepted | Rejected:
    """End an execution that has not ended; ending it twice is refused as a conflict."""
    found = tx.row(
        f"SELECT {ACTIVE_COLUMNS} FROM executions WHERE id = ?",  # noqa: S608 - a constant list of columns
        command.execution_id,
    )
    if found is None:
        return _no_such_execution(command.execution_id)
    execution = Active(*found)
    if not may_move(ExecutionStatus(execution.status), ExecutionStatus.CANCELLED):
        return Rejected(
            "conflict",
            f"execution {ids.to_text(command.execution_id)} is {execution.status}; "
            "only pending and running ones can be cancelled",
        )
    cancel(tx, execution, at, command.reason)
    return ExecutionAccepted(_stored(tx, command.execution_id))


def _begin(tx: Applying, job: JobFacts, new: Starting, at: int) -> ExecutionAccepted:
    row = start(tx, job, new, at=at, claim=None, active=active_of_job(tx, job.seq))
    tx.change(INSERT_EXECUTION, *row)
    return ExecutionAccepted(_stored(tx, new.execution_id))


def _facts(row: Any) -> JobFacts:
    return JobFacts(row[0], row[1], ConcurrencyPolicy(row[2]), row[3])


def _stored(tx: Applying, execution_id: bytes) -> Execution:
    stored = get_execution(tx.connection, execution_id)
    if stored is None:
        raise AssertionError("an execution written in this transaction can be read in it")
    return stored


def _no_such_execution(execution_id: bytes) -> Rejected:
    return Rejected("not_found", f"there is no execution with id {ids.to_text(execution_id)!r}")
