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


class KeptExecutions(NamedTuple):
    """A job with a ledger, and how long it is to be kept."""

    job_seq: int
    retention: Retention
    deleted_at: int | None
    has_ledger: bool
