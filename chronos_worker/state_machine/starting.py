"""Writing new executions: pending, claimed at once, or as the record of why there was no run."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chronos_common.commands import Claim
from chronos_common.models import ConcurrencyPolicy, ExecutionStatus, Skipped, SkipReason
from chronos_worker.state_machine.context import Applying
from chronos_worker.state_machine.effects import Assigned
from chronos_worker.state_machine.endings import Active, cancel
from chronos_worker.state_machine.transitions import admits
from chronos_worker.store.rows import Extra, pack

INSERT_EXECUTION: Final = """
    INSERT INTO executions (seq, id, job_seq, job_version, status, cause, fire_time, created_at, due_at, attempt,
                            lost_count, max_attempts, node_id, incarnation, attempt_status, started_at,
                            finished_at, reason, extra)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)"""


POLICIES: Final = {policy.value: policy for policy in ConcurrencyPolicy}
"""By the word in the row; calling the enum costs ten times as much."""


class JobFacts(msgspec.Struct, frozen=True, gc=False):
    """What starting an execution must know of its job."""

    seq: int
    version: int
    concurrency: ConcurrencyPolicy
    max_attempts: int
    answered_until: int = -1
    """The latest occurrence of its schedule that has an answer, whichever schedule it had then."""


class Starting(msgspec.Struct, frozen=True, gc=False):
    """An execution about to be written."""

    execution_id: bytes
    cause: str
    """Why, in the word of `Trigger`."""
    fire_time: int
    extra: bytes | None = None


def start(
    tx: Applying, job: JobFacts, new: Starting, *, at: int, claim: Claim | None, active: list[Active]
) -> tuple[Any, ...]:
    """The row of a new execution, as INSERT_EXECUTION takes it, after its job's concurrency policy.

    `active` are the job's executions still going; `replace` ends them, `forbid` turns the new one into
    a ledger row that says so. With a claim the first attempt begins now, else it is pending.
    """
    if not admits(job.concurrency, active=bool(active)):
        overlap = Skipped(SkipReason.OVERLAP, new.fire_time, new.fire_time, 1)
        reason = f"{len(active)} earlier execution(s) of this job still active, and its concurrency is forbid"
        return skipped_row(tx, job, new, overlap, at=at, reason=reason)
    if active and job.concurrency is ConcurrencyPolicy.REPLACE:
        for earlier in active:
            cancel(tx, earlier, at, "replaced by a newer execution of the job")
    seq = _next_seq(tx)
    if claim is None:
        tx.due(at)
        return (seq, new.execution_id, job.seq, job.version, "pending", new.cause, new.fire_time, at, at, 0,
                job.max_attempts, None, None, None, None, None, None, new.extra)  # fmt: skip
    assign(tx, Assigned(seq, new.execution_id, 1, job.seq, job.version, new.fire_time, new.extra, at), claim)
    return (seq, new.execution_id, job.seq, job.version, "running", new.cause, new.fire_time, at, None, 1,
            job.max_attempts, claim.node_id, claim.incarnation, "running", at, None, None, new.extra)  # fmt: skip


def skipped_row(
    tx: Applying, job: JobFacts, new: Starting, skipped: Skipped, *, at: int, reason: str
) -> tuple[Any, ...]:
    """The row that stands for occurrences that do not run."""
    tx.counts["executions.skipped"] += skipped.count
    tx.counts[f"skipped.{skipped.reason.value}"] += skipped.count
    extra = pack(Extra(skipped=skipped))
    return (_next_seq(tx), new.execution_id, job.seq, job.version, ExecutionStatus.SKIPPED.value, new.cause,
            new.fire_time, at, None, 0, job.max_attempts, None, None, None, None, at, reason, extra)  # fmt: skip


def assign(tx: Applying, assigned: Assigned, claim: Claim) -> None:
    """A seat is taken; if it is ours, the delivery is to be made."""
    tx.running[claim.node_id] += 1
    if claim == tx.me:
        tx.effects.append(assigned)


def _next_seq(tx: Applying) -> int:
    seq = tx.next_execution_seq
    tx.next_execution_seq = seq + 1
    return seq
