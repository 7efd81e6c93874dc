"""What may follow what, as data: the only statement of how executions and attempts move.

Apply consults these tables and nothing else; a command that asks for another move changes nothing.
"""

from __future__ import annotations

from typing import Final

from chronos_common.models import AttemptStatus, ConcurrencyPolicy, ExecutionStatus

MAX_LOST: Final = 20
"""Lost attempts do not spend the retry budget, but an execution that outlives this many fails."""

EXECUTION_MOVES: Final[dict[ExecutionStatus, frozenset[ExecutionStatus]]] = {
    ExecutionStatus.PENDING: frozenset({ExecutionStatus.RUNNING, ExecutionStatus.CANCELLED, ExecutionStatus.FAILED}),
    ExecutionStatus.RUNNING: frozenset(
        {
            ExecutionStatus.PENDING,  # a retry is due later, or the attempt was lost
            ExecutionStatus.SUCCEEDED,
            ExecutionStatus.FAILED,
            ExecutionStatus.CANCELLED,
        }
    ),
    ExecutionStatus.SUCCEEDED: frozenset(),
    ExecutionStatus.FAILED: frozenset(),
    ExecutionStatus.SKIPPED: frozenset(),
    ExecutionStatus.CANCELLED: frozenset(),
}


def may_move(current: ExecutionStatus, target: ExecutionStatus) -> bool:
    """Whether an execution may go from `current` to `target`."""
    return target in EXECUTION_MOVES[current]


def after_attempt(
    outcome: AttemptStatus, *, number: int, lost_count: int, max_attempts: int, repeatable: bool
) -> ExecutionStatus:
    """Where a running execution goes when attempt `number` ends in `outcome`.

    `lost_count` counts earlier lost attempts, which spent none of the budget of `max_attempts`.
    `repeatable` says that the result carried a time for another try.
    """
    if outcome is AttemptStatus.SUCCEEDED:
        return ExecutionStatus.SUCCEEDED
    if outcome is AttemptStatus.CANCELLED:
        return ExecutionStatus.CANCELLED
    if outcome is AttemptStatus.LOST:
        return ExecutionStatus.PENDING if lost_count + 1 <= MAX_LOST else ExecutionStatus.FAILED
    spent = number - lost_count
    return ExecutionStatus.PENDING if repeatable and spent < max_attempts else ExecutionStatus.FAILED


def admits(policy: ConcurrencyPolicy, *, active: bool) -> bool:
    """Whether a new execution may begin beside those that are active (`replace` makes room first)."""
    return not active or policy is not ConcurrencyPolicy.FORBID
