"""Completing what a client asked for: ids, times and next fire times, decided by the leader."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chronos_common import ids
from chronos_common.commands import (
    CancelExecution,
    Change,
    ClientRequest,
    CreateJob,
    DeleteJob,
    JobBatch,
    ReplayExecution,
    TriggerJob,
    UpdateJob,
)
from chronos_common.models import JobSpec
from chronos_common.protocol import Proposal
from chronos_common.schedules import parse_schedule

Anchors = Callable[[str], tuple[int, int | None] | None]
"""From a job id to its (created_at, last_fire_time), or None if there is no such job."""


class Completer:
    """Fills in what only the proposer may decide. `mint` draws the random part of a new id."""

    def __init__(self, anchors: Anchors, mint: Callable[[int], int]) -> None:
        self._anchors = anchors
        self._mint = mint

    def complete(self, proposal: Proposal, now: int) -> ClientRequest:
        """The command for the log.

        Raises:
            InvalidSchedule, InvalidTimezone: the API let something through that has no fire times.
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
            case CancelExecution():
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
