"""What the leader does beyond being one: look at the rows, and propose what is due.

Leading gates only proposing. A stale leader's commands meet the compare-and-sets of the state machine
and change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection

from chronos_common.commands import Command, ForgetNode, MoveDue, Prune
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
MAX_PLANS: Final = 4
"""In the log at the same time: what is due need not wait for the commit of what was due just before."""
PATIENCE_S: Final = 2.0
"""A plan not seen applied for this long is taken for lost, and made anew from the rows."""
_NEVER: Final = 1 << 62
_BEGINNING: Final = -1
_LAST_SEQ: Final = 1 << 62
PRUNED_PER_STEP: Final = 50
"""Each forgotten row is looked up in five indexes, wherever on the disk: a fire must not wait for many of them."""
MOST_PRUNED_PER_STEP: Final = 500
_DELETED_PER_STEP: Final = 50
_EFFORT_PER_STEP: Final = 50_000
"""In entries of an index walked: what a ledger keeps is walked to find what it does not."""
_EFFORT_PER_LEDGER: Final = 2_000
_BEFORE_ALL_LEDGERS: Final = 0
_BEFORE_ALL_DELETED: Final = (-1, -1)
_PRUNE_PAUSE_S: Final = 0.1
_BEHIND_PAUSE_S: Final = 0.02
_PRUNE_REST_S: Final = 30.0
OUTCOME_LIFETIME_MS: Final = 24 * 3_600_000
"""How long a repeated Idempotency-Key still gets its first answer."""
_PURGE_AFTER_MS: Final = 3_600_000


class _Setback(NamedTuple):
    """Our clock was set back by `by_ms`; executions up to `upto`, (due_at, seq), were seen to."""

    by_ms: int
    upto: tuple[int, int]


@dataclass(slots=True)
class _Flight:
    """A plan on its way through the log."""

    commands: int
    proposed_at_s: float
    seats: Mapping[str, int]
    """How many it takes, by node id."""


class Planning:
    """The leader's plans: looks at the rows, and what is on its way because of them.

    A look answers everything that is due up to its instant, the horizon. The next may be taken while those plans
    are still in the log, and sees only what became due since. What turns up on the near side of the horizon
    (something left over, or new, or refused) waits until every plan was seen applied, and then for a look at
    everything. Between looks the rows are left alone: what is applied says when it will be due.
    """

    def __init__(self, database: Database, machine: StateMachine) -> None:
        self._database = database
        self._machine = machine
        self._in_flight: dict[int | None, _Flight] = {}
        """By the instant of the look; moves have none."""
        self._horizon = _BEGINNING
        self._next_due = _NEVER
        """The earliest instant beyond the horizon at which something is known to be due."""
        self._again = True
        """Whether something may be due on this side of the horizon."""
        self._leap = NOTHING_LEAPT
        self._setback: _Setback | None = None
        self._moving: _Setback | None = None
        """Where to begin again if the moves on their way are lost."""

    def plan(self, now: int, now_s: float, nodes: list[NodeInfo]) -> list[Command]:
        """Commands for everything that became due since the last look, up to a bound; nothing when it is not time."""
        if self._is_overdue(now_s):
            self.lost()
        if not self._may_look(now):
            return []
        if not self._in_flight:
            self._setback = self._moving or self._setback
            if self._setback and (moves := self._plan_moves(self._setback)):
                self._again = True
                return self._propose([moves], None, now_s, {})
        if not any(node.state is NodeState.LIVE for node in nodes):
            # Everybody drains or has just begun: what is due meanwhile is for the misfire policies, later.
            self._again = True
            return []
        seats = Seats(nodes, self._seats_taken())
        commands = self._look(now, seats)
        return self._propose(commands, now, now_s, seats.taken()) if commands else []

    def _may_look(self, now: int) -> bool:
        if not self._in_flight:
            return self._again or now >= self._next_due
        return not self._again and len(self._in_flight) < MAX_PLANS and now >= self._next_due

    def _look(self, now: int, seats: Seats) -> list[Command]:
        """What the rows beyond the horizon, or all of them if nothing is on its way, ask for at `now`."""
        after = self._horizon if self._in_flight else _BEGINNING
        with self._database.look() as connection:
            waiting = rows.list_due_executions(connection, after, now, STARTS_PER_PLAN) if seats.any_free else []
            jobs = rows.list_due_jobs(connection, after, now, FIRES_PER_PLAN)
            starts = plan_starts(waiting, now, seats)
            fires = plan_fires(jobs, now, seats, self._leap)
            self._next_due = _or_never(rows.get_next_due(connection, now))
        answered = len(fires.items) if fires else 0
        # Without a free seat nobody knows what waits for one.
        self._again = (
            not seats.any_free
            or answered < len(jobs)
            or len(jobs) == FIRES_PER_PLAN
            or len(waiting) == STARTS_PER_PLAN
        )
        self._horizon = now
        return [command for command in (starts, fires) if command is not None]

    def _propose(
        self, commands: list[Command], at: int | None, now_s: float, seats: Mapping[str, int]
    ) -> list[Command]:
        self._in_flight[at] = _Flight(len(commands), now_s, seats)
        return commands

    def _seats_taken(self) -> Counter[str]:
        taken = self._machine.running.copy()
        for flight in self._in_flight.values():
            taken.update(flight.seats)
        return taken

    def _is_overdue(self, now_s: float) -> bool:
        return any(now_s - flight.proposed_at_s >= PATIENCE_S for flight in self._in_flight.values())

    def _plan_moves(self, setback: _Setback) -> MoveDue | None:
        """The next executions that waited for an instant when the clock was set back."""
        with self._database.look() as connection:
            waiting = rows.list_waiting(connection, setback.upto, MOVES_PER_PLAN)
        moves = plan_moves(waiting, setback.by_ms)
        self._moving = setback if moves else None
        self._setback = setback._replace(upto=waiting[-1]) if len(waiting) == MOVES_PER_PLAN else None
        return moves

    def applied(self, at: int | None, now_s: float) -> float | None:
        """A command planned for `at` was applied; if that completes a plan of ours, how many seconds it took."""
        flight = self._in_flight.get(at)
        if flight is None:
            return None  # of another leader, or given up
        flight.commands -= 1
        if flight.commands:
            return None
        del self._in_flight[at]
        if at is None:
            self._moving = None
        return now_s - flight.proposed_at_s

    def lost(self) -> None:
        """What is on its way will not arrive: the rows say what is due still."""
        self._in_flight.clear()
        self._again = True

    def forget(self) -> None:
        """We do not lead, or the rows were replaced: whatever was known is old."""
        self.lost()
        self._setback = self._moving = None

    def clock_stepped(self, step: ClockStep) -> None:
        """Our wall clock was moved: what it leapt over is not late, and what waits is not to wait longer."""
        self._leap = Leap(step.before, step.after)
        self._again = True
        if step.by_ms < 0:
            already_ms = self._setback.by_ms if self._setback else 0
            self._setback = _Setback(already_ms - step.by_ms, (step.after, _LAST_SEQ))

    def due_from(self, instant: int) -> None:
        """Something was applied that is due at `instant` (ms)."""
        if instant > self._horizon:
            self._next_due = min(self._next_due, instant)
        else:
            self._again = True

    def wait_s(self, now: int, longest_s: float) -> float:
        """How long nothing will be due that is known now; `longest_s` if only an event can change that."""
        if self._again or len(self._in_flight) == MAX_PLANS:
            return longest_s
        return min(longest_s, max(0.0, (self._next_due - now) / 1_000))


def _or_never(instant: int | None) -> int:
    return _NEVER if instant is None else instant


class Pruning:
    """The ledgers' old ends, walked job by job in bounded steps; and deleted jobs, which follow their ledgers.

    A step forgets few rows, and beyond those as many as came since the step before, up to a bound: so that ledgers
    do not grow beyond what they may keep while there are many executions a second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._behind = False
        self._newest = 0
        self._ledger = _BEFORE_ALL_LEDGERS
        self._deleted = _BEFORE_ALL_DELETED
        self._next_at_s = 0.0

    def plan(self, now: int, now_s: float) -> list[Command]:
        """The next few rows to forget, more often the more there are, with a rest after each round."""
        if now_s < self._next_at_s:
            return []
        with self._database.look() as connection:
            limit = self._limit(rows.get_next_execution_seq(connection))
            expired = self._expire(connection, now, limit)
            purged = self._purge(connection, now)
            old_outcomes = rows.has_outcomes_before(connection, now - OUTCOME_LIFETIME_MS)
        self._behind = len(expired) == limit or old_outcomes
        self._next_at_s = now_s + self._pause_s()
        if not (expired or purged or old_outcomes):
            return []
        bound = now - OUTCOME_LIFETIME_MS if old_outcomes else None
        return [Prune(tuple(expired), bound, tuple(purged))]

    def forget(self) -> None:
        """We do not lead: what comes meanwhile is not ours to forget at once when we lead again."""
        self._behind = False

    def _limit(self, newest: int) -> int:
        """How many to forget now. After a pause, few: what came meanwhile need not go at once."""
        came, self._newest = newest - self._newest, newest
        return min(PRUNED_PER_STEP + came, MOST_PRUNED_PER_STEP) if self._behind else PRUNED_PER_STEP

    def _pause_s(self) -> float:
        if self._behind:
            return _BEHIND_PAUSE_S
        round_over = self._ledger == _BEFORE_ALL_LEDGERS and self._deleted == _BEFORE_ALL_DELETED
        return _PRUNE_REST_S if round_over else _PRUNE_PAUSE_S

    def _expire(self, connection: Connection, now: int, limit: int) -> list[int]:
        """Executions to forget in the next few ledgers."""
        expired: list[int] = []
        effort = 0
        while effort < _EFFORT_PER_STEP:
            kept = rows.get_next_ledger(connection, self._ledger)
            if kept is None:
                self._ledger = _BEFORE_ALL_LEDGERS
                break
            expired += rows.list_expired(
                connection,
                kept.job_seq,
                before=now - kept.retention.max_age_ms,
                keep=kept.retention.max_count,
                limit=limit - len(expired),
            )
            if len(expired) == limit:
                break  # this ledger may hold more
            self._ledger = kept.job_seq
            effort += _EFFORT_PER_LEDGER + kept.retention.max_count
        return expired

    def _purge(self, connection: Connection, now: int) -> list[int]:
        """Jobs to forget among the next few deleted ones."""
        deleted = rows.list_deleted(connection, self._deleted, now - _PURGE_AFTER_MS, _DELETED_PER_STEP)
        more = len(deleted) == _DELETED_PER_STEP
        self._deleted = (deleted[-1].deleted_at, deleted[-1].job_seq) if more else _BEFORE_ALL_DELETED
        return [job.job_seq for job in deleted if not job.has_ledger]


def plan_forgetting(nodes: Iterable[NodeInfo], members: Collection[str]) -> list[Command]:
    """Commands that drop the rows of nodes which ended and are no members any more."""
    ended = (NodeState.LOST, NodeState.LEFT)
    return [ForgetNode(node.node_id) for node in nodes if node.state in ended and node.node_id not in members]
