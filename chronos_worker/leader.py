"""What the leader does beyond being one: look at the rows, and propose what is due.

Leading gates only proposing. A stale leader's commands meet the compare-and-sets of the state machine
and change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from chronos_common.commands import Command, ForgetNode, Prune
from chronos_common.models import NodeInfo, NodeState
from chronos_worker.clock_watch import ClockStep
from chronos_worker.planner.fires import NOTHING_LEAPT, Leap, plan_fires
from chronos_worker.planner.moves import plan_moves
from chronos_worker.planner.seats import Seats
from chronos_worker.planner.starts import plan_starts
from chronos_worker.state_machine.machine import StateMachine
from chronos_worker.store import planning_queries as rows
from chronos_worker.store.database import Database

FIRES_PER_PLAN: Final = 1_000
STARTS_PER_PLAN: Final = 1_000
MOVES_PER_PLAN: Final = 1_000
PATIENCE_S: Final = 2.0
"""A plan not seen applied for this long is taken for lost, and made anew from the rows."""
_AT_ONCE: Final = 0
_NEVER: Final = 1 << 62
_LAST_SEQ: Final = 1 << 62
PRUNED_PER_STEP: Final = 500
_JOBS_PER_PRUNE: Final = 50
_PRUNE_PAUSE_S: Final = 0.2
_PRUNE_REST_S: Final = 30.0
OUTCOME_LIFETIME_MS: Final = 24 * 3_600_000
"""How long a repeated Idempotency-Key still gets its first answer."""
_PURGE_AFTER_MS: Final = 3_600_000


class _Setback(NamedTuple):
    """Our clock was set back by `by_ms`; executions up to `upto`, (due_at, seq), were seen to."""

    by_ms: int
    upto: tuple[int, int]


class Planning:
    """The leader's plans, one in the log at a time: the next is made from rows that show the last.

    The rows are looked at only from the instant on at which something in them can be due: what is applied
    brings that instant forward, and every look puts it back.
    """

    def __init__(self, database: Database, machine: StateMachine) -> None:
        self._database = database
        self._machine = machine
        self._outstanding = 0
        self._proposed_at_s = 0.0
        self._look_at = _AT_ONCE
        self._leap = NOTHING_LEAPT
        self._setback: _Setback | None = None
        self._moving: _Setback | None = None
        """Where to begin again if the moves on their way are lost."""

    def plan(self, now: int, now_s: float, nodes: list[NodeInfo]) -> list[Command]:
        """Commands for everything due at `now`, up to a bound; nothing while the last plan is on its way."""
        overdue = self._outstanding and now_s - self._proposed_at_s >= PATIENCE_S
        if not overdue and (self._outstanding or now < self._look_at):
            return []
        self._setback = self._moving or self._setback
        if self._setback and (moves := self._plan_moves(self._setback)):
            return self._propose(moves, now_s)
        if not any(node.state is NodeState.LIVE for node in nodes):
            # Everybody drains or has just begun: what is due meanwhile is for the misfire policies, later.
            self._look_at = _AT_ONCE
            return []
        seats = Seats(nodes, self._machine.running)
        with self._database.look() as connection:
            due = rows.list_due_executions(connection, now, STARTS_PER_PLAN) if seats.any_free else []
            starts = plan_starts(due, now, seats)
            fires = plan_fires(rows.list_due_jobs(connection, now, FIRES_PER_PLAN), now, seats, self._leap)
            # Without a free seat nobody knows what waits for one: look again whenever something happens.
            self._look_at = _next_look(connection, now) if seats.any_free else _AT_ONCE
        return self._propose([command for command in (starts, fires) if command is not None], now_s)

    def _propose(self, commands: list[Command], now_s: float) -> list[Command]:
        self._outstanding = len(commands)
        self._proposed_at_s = now_s
        return commands

    def _plan_moves(self, setback: _Setback) -> list[Command]:
        """The next executions that waited for an instant when the clock was set back."""
        with self._database.look() as connection:
            waiting = rows.list_waiting(connection, setback.upto, MOVES_PER_PLAN)
        moves = plan_moves(waiting, setback.by_ms)
        self._moving = setback if moves else None
        self._setback = setback._replace(upto=waiting[-1]) if len(waiting) == MOVES_PER_PLAN else None
        return [] if moves is None else [moves]

    def applied(self, now_s: float) -> float | None:
        """A planner's command was seen applied; if that completes a plan of ours, how many seconds it took."""
        if self._outstanding == 0:
            return None
        self._outstanding -= 1
        self._moving = None
        self._look_at = _AT_ONCE  # what of it was refused is due still
        return None if self._outstanding else now_s - self._proposed_at_s

    def unsent(self) -> None:
        """The log did not take the plan."""
        self._outstanding = 0
        self._look_at = _AT_ONCE

    def forget(self) -> None:
        """We do not lead, or the rows were replaced: whatever was known of them is old."""
        self._look_at = _AT_ONCE
        self._setback = self._moving = None

    def clock_stepped(self, step: ClockStep) -> None:
        """Our wall clock was moved: what it leapt over is not late, and what waits is not to wait longer."""
        self._leap = Leap(step.before, step.after)
        self._look_at = _AT_ONCE
        if step.by_ms < 0:
            already_ms = self._setback.by_ms if self._setback else 0
            self._setback = _Setback(already_ms - step.by_ms, (step.after, _LAST_SEQ))

    def due_from(self, instant: int) -> None:
        """Something was applied that is due at `instant` (ms)."""
        self._look_at = min(self._look_at, instant)

    def wait_s(self, now: int, longest_s: float) -> float:
        """How long nothing will be due that is known now; `longest_s` if only an event can change that."""
        if self._outstanding or self._look_at == _AT_ONCE:
            return longest_s
        return min(longest_s, max(0.0, (self._look_at - now) / 1_000))


def _next_look(connection: Connection, now: int) -> int:
    due = rows.get_next_due(connection, now)
    return _NEVER if due is None else due


class Pruning:
    """The ledger's old end, walked job by job in bounded steps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = 0
        self._next_at_s = 0.0

    def plan(self, now: int, now_s: float) -> list[Command]:
        """The next few rows to forget, at most every fifth of a second, with a rest after each round."""
        if now_s < self._next_at_s:
            return []
        expired: list[int] = []
        purged: list[int] = []
        with self._database.look() as connection:
            kept = rows.list_kept(connection, self._cursor, _JOBS_PER_PRUNE)
            for job in kept:
                self._cursor = job.job_seq
                if job.deleted_at is not None and not job.has_ledger and job.deleted_at < now - _PURGE_AFTER_MS:
                    purged.append(job.job_seq)
                expired += rows.list_expired(
                    connection,
                    job.job_seq,
                    before=now - job.retention.max_age_ms,
                    keep=job.retention.max_count,
                    limit=PRUNED_PER_STEP - len(expired),
                )
                if len(expired) >= PRUNED_PER_STEP:
                    self._cursor -= 1  # this job may have more
                    break
            old_outcomes = rows.has_outcomes_before(connection, now - OUTCOME_LIFETIME_MS)
        round_over = len(kept) < _JOBS_PER_PRUNE and len(expired) < PRUNED_PER_STEP
        if round_over:
            self._cursor = 0
        self._next_at_s = now_s + (_PRUNE_REST_S if round_over and not old_outcomes else _PRUNE_PAUSE_S)
        if not (expired or purged or old_outcomes):
            return []
        bound = now - OUTCOME_LIFETIME_MS if old_outcomes else None
        return [Prune(tuple(expired), bound, tuple(purged))]


def plan_forgetting(nodes: Iterable[NodeInfo], members: Collection[str]) -> list[Command]:
    """Commands that drop the rows of nodes which ended and are no members any more."""
    ended = (NodeState.LOST, NodeState.LEFT)
    return [ForgetNode(node.node_id) for node in nodes if node.state in ended and node.node_id not in members]
