"""What waits for an instant, when the clock that tells the instant is set back."""

from __future__ import annotations

from collections.abc import Sequence

from chronos_common.commands import Move, MoveDue


def plan_moves(waiting: Sequence[tuple[int, int]], by_ms: int) -> MoveDue | None:
    """Executions, as (due_at, seq), are due `by_ms` earlier: as long from now as before; None if there is none."""
    items = tuple(Move(seq, due_at, due_at - by_ms) for due_at, seq in waiting)
    return MoveDue(items) if items else None
