"""Completing what a client asked for: ids, times and next fire times, decided by the leader."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chronos_common import ids
from chronos_common.backups import decode_batch
from chronos_common.commands import (
    AbortRestore,
    BeginRestore,
    CancelExecution,
    Change,
    ClientRequest,
    CreateJob,
    DeleteJob,
    EndRestore,
    JobBatch,
    ReplayExecution,
    RestoreRows,
    TriggerJob,
    UpdateJob,
)
from chronos_common.models import JobSpec
from chronos_common.protocol import Proposal
from chronos_common.schedules import parse_schedule

Anchors = Callable[[str], tuple[int, int | None] | None]
"""From a job id to its (created_at, last_fire_time), or None if there is no such job."""


class NotRestorable(Exception):
    """This build cannot restore what it is given."""


class Completer:
    """Fills in what only the proposer may decide. `mint` draws the random part of a new id.

    `schemas` are the revisions of the tables whose rows this build can take over from a backup.
    """

    def __init__(self, anchors: Anchors, mint: Callable[[int], int], schemas: frozenset[str] = frozenset()) -> None:
        self._anchors = anchors
        self._mint = mint
        self._schemas = schemas

    def complete(self, proposal: Proposal, now: int) -> ClientRequest:
        """The command for the log.

        Raises:
            InvalidSchedule, InvalidTimezone: the API let something through that has no fire times.
            NotRestorable: a backup needs another version of Chronos.
        """
        return ClientRequest(
            proposal.command_id,
            proposal.fingerprint,
            proposal.principal,
            now,
            self._change(proposal.change, now),
        )

    def _change(self, change: Change, now: int) -> Change:
        match change:
            case CreateJob() | UpdateJob() | DeleteJob():
                return self._job_change(change, now)
            case JobBatch():
                return msgspec.structs.replace(
                    change, items=tuple(self._job_change(item, now) for item in change.items)
                )
            case TriggerJob() | ReplayExecution():
                return msgspec.structs.replace(change, execution_id=ids.minted_id(now, self._mint))
            case BeginRestore(schema=schema):
                if schema not in self._schemas:
                    raise NotRestorable(
                        f"the backup has the schema {schema!r:.40}; this version restores "
                        f"{', '.join(sorted(self._schemas))}: restore with the version that wrote it, or a newer one"
                    )
                return change
            case RestoreRows():
                _check_schedules(change)
                return change
            case CancelExecution() | EndRestore() | AbortRestore():
                return change

    def _job_change(self, change: CreateJob | UpdateJob | DeleteJob, now: int) -> CreateJob | UpdateJob | DeleteJob:
        match change:
            case CreateJob():
                return msgspec.structs.replace(
                    change,
                    job_id=ids.to_text(ids.minted_id(now, self._mint)),
                    next_fire_time=next_fire_time(change.spec, now, now),
                )
            case UpdateJob():
                created_at, last_fire_time = self._anchors(change.job_id) or (now, None)
                # Never before what was already answered, even if the clock went back meanwhile.
                after = max(now, last_fire_time or 0)
                return msgspec.structs.replace(change, next_fire_time=next_fire_time(change.spec, after, created_at))
            case DeleteJob():
                return change


def next_fire_time(spec: JobSpec, after: int, anchor: int) -> int | None:
    """When a job of this spec is due first after an instant; None for manual, disabled or exhausted ones."""
    if spec.schedule is None or not spec.enabled:
        return None
    return parse_schedule(spec.schedule, spec.timezone).next_after(after, anchor)


def _check_schedules(change: RestoreRows) -> None:
    """Refuse jobs whose schedule or time zone is unknown here, before they are in the rows to be planned.

    A piece that is not a whole batch holds one job alone, too large for one piece; it is taken as it is.
    """
    try:
        batch = decode_batch(change.data)
    except msgspec.DecodeError:
        return  # part of a batch, or none: the state machine will tell
    if batch.table == "jobs" and {"schedule", "timezone"} <= set(batch.columns):
        schedule, timezone = batch.columns.index("schedule"), batch.columns.index("timezone")
        for row in batch.rows:
            if isinstance(row[schedule], str):
                parse_schedule(row[schedule], str(row[timezone]))
