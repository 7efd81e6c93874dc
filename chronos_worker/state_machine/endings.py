"""How executions end or go back: cancelled, lost, retried, finished. The only writers of those moves."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chronos_common.models import AttemptStatus, ExecutionStatus
from chronos_worker.state_machine.context import Applying
from chronos_worker.state_machine.effects import Aborted
from chronos_worker.state_machine.transitions import MAX_LOST, after_attempt

ACTIVE_COLUMNS: Final = (
    "seq, status, attempt, lost_count, max_attempts, node_id, incarnation, started_at, attempt_status, response"
)

_INSERT_ATTEMPT: Final = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_TO_PENDING: Final = """
    UPDATE executions SET status = 'pending', due_at = ?, lost_count = ?, attempt_status = NULL,
                          node_id = NULL, incarnation = NULL, response = NULL WHERE seq = ?"""
_TO_END: Final = """
    UPDATE executions SET status = ?, due_at = NULL, lost_count = ?, attempt_status = ?, started_at = ?,
                          finished_at = ?, response = ?, reason = ? WHERE seq = ?"""


class Active(msgspec.Struct, frozen=True, gc=False):
    """An execution that has not ended, as ACTIVE_COLUMNS select it."""

    seq: int
    status: str
    attempt: int
    lost_count: int
    max_attempts: int
    node_id: str | None
    incarnation: int | None
    started_at: int | None
    attempt_status: str | None
    response: bytes | None


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How the running attempt of an execution ended."""

    execution: Active
    outcome: AttemptStatus
    started_at: int
    finished_at: int
    retry_at: int | None
    response: bytes | None
    reason: str | None


def active_of_job(tx: Applying, job_seq: int) -> list[Active]:
    """A job's pending and running executions, oldest first."""
    found = tx.rows(
        f"SELECT {ACTIVE_COLUMNS} FROM executions "  # noqa: S608 - a constant list of columns
        "WHERE job_seq = ? AND status IN ('pending', 'running') ORDER BY seq",
        job_seq,
    )
    return [Active(*row) for row in found]


def cancel_active(tx: Applying, job_seq: int, at: int, reason: str) -> None:
    """End every active execution of a job; running requests are aborted."""
    for execution in active_of_job(tx, job_seq):
        cancel(tx, execution, at, reason)


def cancel(tx: Applying, execution: Active, at: int, reason: str) -> None:
    """End one active execution as cancelled."""
    attempt_status = None
    if execution.status == ExecutionStatus.RUNNING:
        _vacate(tx, execution)
        _cut_off(tx, execution)
        attempt_status = AttemptStatus.CANCELLED.value
    tx.change(
        _TO_END, ExecutionStatus.CANCELLED.value, execution.lost_count, attempt_status,
        execution.started_at, at, None, reason, execution.seq,
    )  # fmt: skip
    tx.counts["executions.cancelled"] += 1


def lose_attempts(tx: Applying, node_id: str, up_to_incarnation: int, at: int) -> None:
    """Every running attempt claimed by these lives of a node is lost; what it served is due again now."""
    found = tx.rows(
        f"SELECT {ACTIVE_COLUMNS} FROM executions INDEXED BY executions_active "  # noqa: S608
        "WHERE status IN ('pending', 'running') AND status = 'running' AND node_id = ? AND incarnation <= ? "
        "ORDER BY seq",
        node_id,
        up_to_incarnation,
    )
    end_attempts(
        tx,
        [
            Ending(execution, AttemptStatus.LOST, execution.started_at or at, at, at, None,
                   f"the node {node_id} was lost")
            for execution in (Active(*row) for row in found)
        ],
    )  # fmt: skip


def end_attempts(tx: Applying, endings: list[Ending]) -> None:
    """Record how running attempts ended and move their executions on, in bulk."""
    finished: list[tuple[Any, ...]] = []
    again: list[tuple[Any, ...]] = []
    history: list[tuple[Any, ...]] = []
    for ending in endings:
        execution, lost = ending.execution, ending.outcome is AttemptStatus.LOST
        target = after_attempt(
            ending.outcome,
            number=execution.attempt,
            lost_count=execution.lost_count,
            max_attempts=execution.max_attempts,
            repeatable=ending.retry_at is not None,
        )
        lost_count = execution.lost_count + lost
        _vacate(tx, execution)
        if lost:
            _cut_off(tx, execution)
        if target is ExecutionStatus.PENDING:
            history.append(
                (execution.seq, execution.attempt, ending.outcome.value, execution.node_id, execution.incarnation,
                 ending.started_at, ending.finished_at, ending.response)
            )  # fmt: skip
            tx.due(ending.retry_at)
            again.append((ending.retry_at, lost_count, execution.seq))
            tx.counts["attempts.lost" if lost else "retries"] += 1
        else:
            reason = f"lost more than {MAX_LOST} times" if lost else ending.reason
            finished.append(
                (target.value, lost_count, ending.outcome.value, ending.started_at, ending.finished_at,
                 ending.response, reason, execution.seq)
            )  # fmt: skip
            tx.counts[f"executions.{target.value}"] += 1
    tx.change_many(_INSERT_ATTEMPT, history)
    tx.change_many(_TO_PENDING, again)
    tx.change_many(_TO_END, finished)


def _vacate(tx: Applying, execution: Active) -> None:
    """The seat is free again."""
    if execution.node_id is not None:
        tx.running[execution.node_id] -= 1


def _cut_off(tx: Applying, execution: Active) -> None:
    """The attempt no longer counts; if its request runs here, it is to be aborted."""
    me = tx.me
    if me is not None and (me.node_id, me.incarnation) == (execution.node_id, execution.incarnation):
        tx.effects.append(Aborted(execution.seq, execution.attempt))
