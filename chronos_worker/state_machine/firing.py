"""Applying what the leader decided about time: fires, and starts of what was pending."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import msgspec

from chronos_common.commands import Claim, Fire, FireItem, MoveDue, StartAttempts
from chronos_common.models import ConcurrencyPolicy, SkipReason, Trigger
from chronos_worker.state_machine.context import Applying, as_json
from chronos_worker.state_machine.effects import Assigned
from chronos_worker.state_machine.endings import ACTIVE_COLUMNS, Active
from chronos_worker.state_machine.starting import (
    INSERT_EXECUTION,
    POLICIES,
    JobFacts,
    Starting,
    assign,
    skipped_row,
    start,
)

_SCHEDULE: Final = Trigger.SCHEDULE.value
_SKIP_SENTENCES: Final = {
    SkipReason.MISFIRE: "found later than the job's grace, and its misfire policy is skip",
    SkipReason.COALESCED: "missed; answered together by the one run that follows",
    SkipReason.CATCH_UP_LIMIT: "missed; outside the job's catch-up window or beyond its cap",
    SkipReason.OVERLAP: "an earlier execution was still active",
}


def apply_plan(tx: Applying, command: Fire | StartAttempts | MoveDue) -> None:
    """Do what a planner asked for, as far as the rows are still as it saw them."""
    match command:
        case Fire():
            apply_fire(tx, command)
        case StartAttempts():
            apply_start(tx, command)
        case MoveDue():
            apply_moves(tx, command)


def apply_fire(tx: Applying, command: Fire) -> None:
    """Fire every item whose job still is as the planner saw it; leave the others untouched."""
    jobs = _jobs_as_planned(tx, command.items)
    active = _active_by_job(tx, [job.seq for job in jobs.values() if job.concurrency != ConcurrencyPolicy.ALLOW])
    live = tx.live_claims(command.claims)
    executions: list[tuple[Any, ...]] = []
    moved: list[tuple[Any, ...]] = []
    for item in command.items:
        job = jobs.get(item.job_seq)
        if job is None:
            continue
        if item.expected <= job.answered_until:
            item = _unanswered(item, job.answered_until)  # noqa: PLW2901 - what is left of it
        going = active.get(job.seq, [])
        for skip in item.skips:
            new = Starting(skip.execution_id, _SCHEDULE, skip.skipped.last_fire_time)
            reason = _SKIP_SENTENCES[skip.skipped.reason]
            executions.append(skipped_row(tx, job, new, skip.skipped, at=command.at, reason=reason))
        for run in item.runs:
            claim = _seat(command.claims, live, run.claim)
            new = Starting(run.execution_id, _SCHEDULE, run.fire_time)
            row = start(tx, job, new, at=command.at, claim=claim, active=going)
            if len(item.runs) > 1 and job.concurrency is not ConcurrencyPolicy.ALLOW:
                # a later run of the same item must see this one
                tx.change(INSERT_EXECUTION, *row)
                going = _active_by_job(tx, [job.seq]).get(job.seq, [])
            else:
                executions.append(row)
        tx.due(item.next_fire_time)
        moved.append((item.next_fire_time, max(job.answered_until, _last_fire_time(item)), job.seq))
    tx.change_many(INSERT_EXECUTION, executions)
    tx.change_many("UPDATE jobs SET next_fire_time = ?, last_fire_time = ? WHERE seq = ?", moved)


def apply_start(tx: Applying, command: StartAttempts) -> None:
    """Begin attempts of pending executions, each if its last attempt is the one before."""
    found = tx.rows(
        "SELECT seq, id, job_seq, job_version, fire_time, attempt, extra FROM executions "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'pending'",
        as_json(item.execution_seq for item in command.items),
    )
    pending = {row[0]: row for row in found}
    live = tx.live_claims(command.claims)
    started: list[tuple[Any, ...]] = []
    for item in command.items:
        row = pending.get(item.execution_seq)
        claim = _seat(command.claims, live, item.claim)
        if row is None:
            continue
        if claim is None:
            tx.due(command.at)  # its node ended meanwhile: another has to be found
            continue
        seq, raw_id, job_seq, job_version, fire_time, attempt, extra = row
        if attempt != item.number - 1:
            continue
        del pending[item.execution_seq]
        assign(tx, Assigned(seq, raw_id, item.number, job_seq, job_version, fire_time, extra, command.at), claim)
        started.append((item.number, claim.node_id, claim.incarnation, command.at, item.execution_seq))
    tx.change_many(
        "UPDATE executions SET status = 'running', due_at = NULL, attempt = ?, node_id = ?, incarnation = ?, "
        "attempt_status = 'running', started_at = ? WHERE seq = ?",
        started,
    )


def apply_moves(tx: Applying, command: MoveDue) -> None:
    """Let pending executions be due at other instants, each if it is still due when the planner saw it."""
    for item in command.items:
        moved = tx.change(
            "UPDATE executions SET due_at = ? WHERE seq = ? AND status = 'pending' AND due_at = ?",
            item.due_at,
            item.execution_seq,
            item.expected,
        )
        if moved:
            tx.due(item.due_at)


def _jobs_as_planned(tx: Applying, items: tuple[FireItem, ...]) -> dict[int, JobFacts]:
    """The jobs that are still at the version and next fire time the planner saw: the compare-and-set."""
    found = tx.rows(
        "SELECT seq, version, next_fire_time, concurrency, max_attempts, last_fire_time FROM jobs "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND enabled AND deleted_at IS NULL",
        as_json(item.job_seq for item in items),
    )
    current = {row[0]: row for row in found}
    planned: dict[int, JobFacts] = {}
    for item in items:
        row = current.get(item.job_seq)
        if row is not None and (row[1], row[2]) == (item.version, item.expected):
            planned[item.job_seq] = JobFacts(
                row[0], row[1], POLICIES[row[3]], row[4], -1 if row[5] is None else row[5]
            )
    return planned


def _unanswered(item: FireItem, answered_until: int) -> FireItem:
    """What of an item has no answer yet.

    All of it, unless a job was changed where the clock is behind that of the leader which had fired it: its next fire
    time was then counted from an instant that had been answered already, and would be answered twice.
    """
    return msgspec.structs.replace(
        item,
        runs=tuple(run for run in item.runs if run.fire_time > answered_until),
        skips=tuple(skip for skip in item.skips if skip.skipped.last_fire_time > answered_until),
    )


def _active_by_job(tx: Applying, job_seqs: list[int]) -> dict[int, list[Active]]:
    if not job_seqs:
        return {}
    found = tx.rows(
        f"SELECT job_seq, {ACTIVE_COLUMNS} FROM executions "  # noqa: S608 - a constant list of columns
        "WHERE job_seq IN (SELECT value FROM json_each(?)) AND status IN ('pending', 'running') ORDER BY seq",
        as_json(job_seqs),
    )
    active: dict[int, list[Active]] = defaultdict(list)
    for job_seq, *columns in found:
        active[job_seq].append(Active(*columns))
    return active


def _seat(claims: tuple[Claim, ...], live: list[bool], index: int | None) -> Claim | None:
    return claims[index] if index is not None and live[index] else None


def _last_fire_time(item: FireItem) -> int:
    """The latest occurrence this item answers, run or skipped."""
    if len(item.runs) == 1 and not item.skips:
        return item.runs[0].fire_time
    return max(
        [run.fire_time for run in item.runs] + [skip.skipped.last_fire_time for skip in item.skips],
        default=item.expected,
    )
