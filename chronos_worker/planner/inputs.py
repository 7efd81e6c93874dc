"""What the planner is told: excerpts of rows, as plain tuples."""

from __future__ import annotations

from typing import NamedTuple

from chronos_common.models import Misfire, Retention


class DueJob(NamedTuple):
    """A job whose next fire time has come. `created_at` anchors the phase of `@every`."""

    seq: int
    raw_id: bytes
    version: int
    next_fire_time: int
    created_at: int
    schedule: str
    timezone: str
    misfire: Misfire


class DueExecution(NamedTuple):
    """A pending execution whose next attempt is due; `attempt` is the number of its last one."""

    seq: int
    attempt: int


class Ledger(NamedTuple):
    """A job that has executions, and how long they are to be kept."""

    job_seq: int
    retention: Retention


class DeletedJob(NamedTuple):
    """A job that was deleted, and whether it still has executions."""

    deleted_at: int
    job_seq: int
    has_ledger: bool
