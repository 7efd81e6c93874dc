"""Handing pending executions to nodes with room."""

from __future__ import annotations

from collections.abc import Sequence

from chronos_common.commands import Start, StartAttempts
from chronos_worker.planner.inputs import DueExecution
from chronos_worker.planner.seats import Seats


def plan_starts(due: Sequence[DueExecution], now: int, seats: Seats) -> StartAttempts | None:
    """The next attempt of each due execution, as far as there are seats; None if nothing can start."""
    items: list[Start] = []
    for execution in due:
        claim = seats.take()
        if claim is None:
            break
        items.append(Start(execution.seq, execution.attempt + 1, claim))
    return StartAttempts(now, seats.claims, tuple(items)) if items else None
