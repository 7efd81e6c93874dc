"""The node: one thread that owns the log, the state machine, the planner and the pool.

`step` is one turn: take what the log committed, apply it, do what applying asks for, collect what the
pool finished, and propose what is due. Other threads only ever touch the desk and the read connections.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from chronos_common.clock import Clock
from chronos_common.commands import (
    MAX_ENTRY_BYTES,
    READS,
    Barrier,
    Claim,
    Command,
    encode_command,
    is_take_digest,
    join_entry,
    level_of,
)
from chronos_common.models import NodeInfo, NodeState
from chronos_common.protocol import Busy, NotLeader, Outcome, Rejected
from chronos_common.schedules import InvalidSchedule, InvalidTimezone
from chronos_worker.absence import Absence
from chronos_worker.clock_watch import ClockStep, ClockWatch
from chronos_worker.cutting import Checkpoints, Cutting
from chronos_worker.deliveries import Deliveries
from chronos_worker.desk import Desk, Slip
from chronos_worker.dispatch import PoolStats
from chronos_worker.leader import Planning, Pruning, plan_forgetting
from chronos_worker.levels import Raising, needs_upgrade
from chronos_worker.life import Life
from chronos_worker.outbox import Outbox
from chronos_worker.planner.presence import Presence
from chronos_worker.progress import Progress
from chronos_worker.proposals import Completer, NotRestorable
from chronos_worker.raft import (
    ChangePending,
    ChangeRefused,
    Committed,
    LogStatus,
    NoLeader,
    QueueFull,
    ReplicatedLog,
)
from chronos_worker.state_machine.effects import (
    Aborted,
    Answered,
    Assigned,
    BarrierReached,
    DigestDue,
    DigestReported,
    Effect,
    NodesChanged,
    Planned,
    Recorded,
    RestoreEnded,
)
from chronos_worker.state_machine.machine import Entry, StateMachine
from chronos_worker.store.database import Database
from chronos_worker.store.planning_queries import list_nodes
from chronos_worker.store.snapshots import Snapshots
from chronos_worker.verifier import Verifier

APPLIED_BYTES_PER_STEP: Final = 1 << 20
"""Bound of one transaction, so that a long replay never keeps heartbeats waiting."""
REQUESTS_PER_STEP: Final = 500
SILENT_S: Final = 1.0
"""Members say something every half second; one that has not for this long is given nothing new to run."""
_ENTRY_OVERHEAD: Final = 16
_POOL_STATS_S: Final = 0.25
_SETTLING_S: Final = 2.0
"""How long a stopping node waits for the cluster to note that it left."""


class Observer(Protocol):
    """Who is told what happens, for metrics and logs. Never asked anything."""

    def plan_applied(self, after_s: float) -> None:
        """A plan was seen applied this long after it was proposed."""

    def clock_stepped(self, step: ClockStep) -> None:
        """The wall clock was moved against the monotonic one."""

    def nodes_changed(self, nodes: list[NodeInfo]) -> None:
        """A node began, drained, left or was declared lost."""

    def life_began(self, claim: Claim) -> None:
        """This node has a new incarnation."""

    def absent(self, silent_s: float) -> None:
        """This node was out of touch for so long; it begins nothing before it knows what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node must know of itself."""

    node_id: str
    control_url: str
    seats: int
    idle_s: float = 1.0
    """Longest sleep of a step."""
    node_grace_s: float = 10.0
    """A node silent for longer is declared lost."""
    drain_grace_s: float = 30.0
    """How long running requests may go on after the node was told to stop."""
    reads: int = READS
    """The highest level of commands this build reads."""

    @property
    def absence_s(self) -> float:
        """A longer silence is an absence: half of the grace, but more than a node sleeps by itself."""
        return max(self.node_grace_s / 2, 2 * self.idle_s)


class View(NamedTuple):
    """The node as of its last step, for other threads."""

    log: LogStatus
    nodes: tuple[NodeInfo, ...]
    claim: Claim | None
    ready: bool
    pool: PoolStats
    unreported: int
    level: int
    """The highest level of commands that may be proposed."""
    snapshot_at_s: float
    """Monotonic: when the state was last made durable and the log cut behind it, or when the node started."""


class Node:
    """One worker. `step` until `stopped`."""

    def __init__(
        self,
        settings: NodeSettings,
        *,
        log: ReplicatedLog,
        database: Database,
        checkpoints: Checkpoints,
        machine: StateMachine,
        deliveries: Deliveries,
        desk: Desk,
        completer: Completer,
        progress: Progress,
        snapshots: Snapshots,
        verifier: Verifier,
        observer: Observer,
        clock: Clock,
        next_incarnation: Callable[[int], int],
    ) -> None:
        self._settings = settings
        self._log = log
        self._database = database
        self._machine = machine
        self._deliveries = deliveries
        self._desk = desk
        self._completer = completer
        self._progress = progress
        self._snapshots = snapshots
        self._verifier = verifier
        self._observer = observer
        self._clock_watch = ClockWatch(clock)
        self._clock = clock
        self._outbox = Outbox(patience_s=2.0)
        self._planning = Planning(database, machine)
        self._pruning = Pruning(database)
        self._raising = Raising()
        self._presence = Presence(settings.node_grace_s, watch_gap_s=settings.node_grace_s / 4)
        self._absence = Absence(settings.absence_s, clock.monotonic_s())
        self._life = Life(settings.node_id, settings.control_url, settings.seats, settings.reads, next_incarnation)
        self._backlog: deque[Committed] = deque()
        self._errands: deque[Callable[[], None]] = deque()
        self._nodes: list[NodeInfo] = []
        self._wait_s = 0.0
        self._stop_by_s: float | None = None
        self._stopped = False
        self._cutting = Cutting(log, checkpoints, clock)
        self._pool_stats, self._pool_seen_at_s = deliveries.pool_stats(), 0.0
        self._reload_nodes()
        self._view = self._look(log.status())

    # -- what others may ask ------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether the node has drained and left."""
        return self._stopped

    @property
    def view(self) -> View:
        """The node as of its last step. Safe from any thread."""
        return self._view

    def transfer_leadership(self, to: str | None) -> None:
        """Hand leadership over at the next step. Safe from any thread."""
        self._errands.append(lambda: self._log.transfer_leadership(to))
        self._log.wake()

    def change_members(self, change: Callable[[ReplicatedLog], None]) -> Future[int]:
        """Have the log's members changed at the next step; the entry that does it. Safe from any thread.

        The future raises what `ReplicatedLog.add_member` and `remove_member` raise.
        """
        asked: Future[int] = Future()

        def errand() -> None:
            try:
                change(self._log)
            except (NoLeader, ChangePending, ChangeRefused) as refused:
                asked.set_exception(refused)
            else:
                asked.set_result(self._log.status().members_index)

        self._errands.append(errand)
        self._log.wake()
        return asked

    def take_snapshot(self) -> None:
        """Make the state durable and cut the log behind it at the next step. Safe from any thread."""
        self._cutting.want()
        self._log.wake()

    def stop(self) -> None:
        """Begin to drain: hand over, finish what runs within the grace, leave. Call from the node's thread."""
        if self._stop_by_s is None:
            self._stop_by_s = self._clock.monotonic_s() + self._settings.drain_grace_s

    # -- one turn -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """One turn. Raises what must stop the process: a failed disk, a log it cannot read."""
        if step := self._clock_watch.look():
            self._observer.clock_stepped(step)
            self._planning.clock_stepped(step)
            self._deliveries.clock_stepped(step)
        self._backlog.extend(self._log.poll(0.0 if self._backlog else self._wait_s))
        if self._snapshots.take_installed():
            self._adopt_snapshot()
        self._perform(self._machine.apply(self._next_batch()))
        self._planning.due_from(self._machine.due_from)
        self._progress.applied(self._machine.applied_index)
        status = self._log.status()
        self._absence.heard(status, self._clock.monotonic_s())
        self._outbox.put(self._deliveries.finished())
        self._live(status)
        self._propose(status)
        self._cutting.step(status, self._machine.applied_index)
        while self._errands:
            self._errands.popleft()()
        self._wait_s = self._next_wait(status)
        self._view = self._look(status)

    def _look(self, status: LogStatus) -> View:
        if (now_s := self._clock.monotonic_s()) >= self._pool_seen_at_s + _POOL_STATS_S:
            self._pool_stats, self._pool_seen_at_s = self._deliveries.pool_stats(), now_s
        return View(
            status,
            tuple(self._nodes),
            self._life.claim,
            self._life.working,
            self._pool_stats,
            len(self._outbox),
            self._machine.level,
            self._cutting.at_s,
        )

    def _next_batch(self) -> list[Entry]:
        batch, size = [], 0
        while self._backlog and size < APPLIED_BYTES_PER_STEP:
            committed = self._backlog.popleft()
            size += len(committed.data)
            batch.append(Entry(*committed))
            if is_take_digest(committed.data):
                break  # the rows are digested as they are now
        return batch

    def _adopt_snapshot(self) -> None:
        """The log replaced the database: its rows are what we have applied now."""
        self._machine.reload()
        self._planning.forget()
        self._reload_nodes()
        self._absence.forget()
        unbegun = self._deliveries.unbegun(self._machine.held(), self._outbox.holds)
        self._begin(unbegun, [], self._log.status().term)

    def _perform(self, effects: list[Effect]) -> None:  # noqa: C901 - one case for each kind of effect
        assigned: list[Assigned] = []
        aborted: list[Aborted] = []
        for effect in effects:
            match effect:
                case Assigned():
                    assigned.append(effect)
                case Aborted():
                    aborted.append(effect)
                case Answered(command_id=command_id, outcome=outcome):
                    self._desk.answer(command_id, outcome)
                case Recorded(execution_seq=seq, number=number):
                    self._outbox.seen(seq, number)
                case BarrierReached(token=token):
                    self._absence.reached(token, self._clock.monotonic_s())
                    self._desk.answer(token, Outcome(self._machine.applied_index, _NOTHING))
                case Planned(at=at):
                    if (after_s := self._planning.applied(at, self._clock.monotonic_s())) is not None:
                        self._observer.plan_applied(after_s)
                case DigestDue(token=token):
                    self._verifier.taken(token, self._machine.applied_index)
                case DigestReported(report=report):
                    self._verifier.reported(report)
                case RestoreEnded():
                    self._planning.forget()
                case NodesChanged():
                    self._reload_nodes()
                    self._observer.nodes_changed(self._nodes)
        self._begin(assigned, aborted, self._machine.applied_term)
        self._deliveries.abort(aborted)

    def _begin(self, assigned: list[Assigned], aborted: list[Aborted], term: int) -> None:
        if (silent_s := self._absence.noticed(self._clock.monotonic_s(), self._life.claim)) is not None:
            self._observer.absent(silent_s)
        self._deliveries.begin(self._absence.admit(assigned, aborted), term)

    def _reload_nodes(self) -> None:
        with self._database.look() as connection:
            self._nodes = list_nodes(connection)
        self._life.see(self._nodes)

    # -- this node's life ---------------------------------------------------------------------------------

    def _live(self, status: LogStatus) -> None:
        """Begin a life once we are up to date, and another whenever the cluster ended the last."""
        if not status.is_caught_up or self._backlog or self._stop_by_s is not None:
            return
        if self._life.claim is not None and not self._life.over:
            return
        self._deliveries.abandon()
        self._absence.forget()
        self._outbox.clear()
        self._machine.me = self._life.begin()
        self._observer.life_began(self._machine.me)

    def _farewell(self, now: int, now_s: float, status: LogStatus) -> list[Command]:
        """Drain, then leave; whatever cannot be said in time is left to the others to find out."""
        assert self._stop_by_s is not None  # noqa: S101 - only called while stopping
        idle = not self._deliveries.in_flight and not len(self._outbox)
        if idle and not status.has_quorum:  # all that is left is to tell the cluster, and nobody can hear it
            self._stop_by_s = min(self._stop_by_s, now_s)
        if self._life.left or self._life.claim is None or now_s > self._stop_by_s + _SETTLING_S:
            self._stopped = True
            return []
        if self._life.working and now_s <= self._stop_by_s:
            return self._life.release(NodeState.DRAINING, now, now_s)
        if status.role == "leader" and len(status.members) > 1 and now_s <= self._stop_by_s:
            self._log.transfer_leadership(None)
        if idle or now_s > self._stop_by_s:
            return self._life.release(NodeState.LEFT, now, now_s)
        return []

    # -- proposing ----------------------------------------------------------------------------------------

    def _propose(self, status: LogStatus) -> None:
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        slips = self._desk.take(REQUESTS_PER_STEP)
        commands: list[Command] = self._life.announce(now, now_s)
        if self._stop_by_s is not None:
            commands = self._farewell(now, now_s, status)
        if status.leader_id is None:
            self._turn_away(slips, NotLeader(None))
            return
        commands += self._absence.ask(now_s)
        leads = status.role == "leader"
        if leads:
            commands += self._lead(now, now_s, status)
        else:
            self._presence.forget()
            self._planning.forget()
            self._pruning.forget()
        self._send(self._encode(commands) + self._requests(slips, now, leads, status))
        for command in self._verifier.plan(now_s, leads=leads):
            self._send(self._encode([command]))
        self._report(now_s)

    def _encode(self, commands: list[Command]) -> list[bytes]:
        """Commands for the log; what not every member reads is held back, and planned again."""
        return [encode_command(command) for command in commands if level_of(command) <= self._machine.level]

    def _lead(self, now: int, now_s: float, status: LogStatus) -> list[Command]:
        strangers = {node.node_id: math.inf for node in self._nodes if node.node_id not in status.members}
        self._presence.watch(strangers | status.peers_contact, now_s)
        commands: list[Command] = [*self._presence.lost(self._nodes, self._settings.node_id, now, now_s)]
        commands += plan_forgetting(self._nodes, status.members)
        commands += self._raising.plan(self._machine.level, status.members, self._nodes, now_s)
        if not self._backlog and not self._machine.restoring:
            commands += self._planning.plan(now, now_s, self._within_reach(status))
            commands += self._pruning.plan(now, now_s)
        return commands

    def _within_reach(self, status: LogStatus) -> list[NodeInfo]:
        """The nodes to plan for: one that has just fallen silent gets no work, long before it is declared lost."""
        return [
            node
            for node in self._nodes
            if node.node_id == self._settings.node_id or status.peers_contact.get(node.node_id, math.inf) < SILENT_S
        ]

    def _requests(self, slips: list[Slip], now: int, leads: bool, status: LogStatus) -> list[bytes]:
        encoded = []
        for slip in slips:
            if slip.proposal is None:
                encoded.append(encode_command(Barrier(slip.key)))
            elif not leads:
                self._turn_away([slip], NotLeader(self._url_of(status.leader_id)))
            elif (level := level_of(slip.proposal.change)) > self._machine.level:
                reason = needs_upgrade(level, self._machine.level, status.members, self._nodes)
                self._desk.answer(slip.key, Outcome(0, Rejected("needs_upgrade", reason)))
            else:
                try:
                    request = encode_command(self._completer.complete(slip.proposal, now))
                except (InvalidSchedule, InvalidTimezone, NotRestorable) as error:
                    self._desk.answer(slip.key, Outcome(0, Rejected("invalid_request", str(error))))
                    continue
                if len(request) + _ENTRY_OVERHEAD > MAX_ENTRY_BYTES:
                    self._desk.answer(slip.key, Outcome(0, _too_large(len(request))))
                else:
                    encoded.append(request)
        return encoded

    def _report(self, now_s: float) -> None:
        """Propose results, each its own entry: they may go through another node."""
        claim = self._life.claim
        while claim is not None and (command := self._outbox.next_command(claim, now_s)) is not None:
            if not self._send(self._encode([command])):
                self._outbox.unsent(command)
                return

    def _send(self, encoded: list[bytes]) -> bool:
        """Propose commands in as few entries as hold them; whether the log took them all."""
        try:
            for entry in pack_entries(encoded):
                self._log.propose(entry)
        except (NoLeader, QueueFull):
            # Callers see no answer and repeat; plans and results are made again from rows and outbox.
            self._planning.lost()
            return False
        return True

    def _turn_away(self, slips: list[Slip], reply: NotLeader | Busy) -> None:
        for slip in slips:
            self._desk.turn_away(slip, reply)

    def _url_of(self, node_id: str | None) -> str | None:
        return next((node.control_url for node in self._nodes if node.node_id == node_id), None)

    # -- waiting ------------------------------------------------------------------------------------------

    def _next_wait(self, status: LogStatus) -> float:
        """Sleep until something is due; the log, the pool and the desk end the sleep early."""
        if self._backlog:
            return 0.0
        longest_s = self._outbox.wait_s(self._clock.monotonic_s(), self._settings.idle_s)
        if status.role != "leader" or self._machine.restoring:
            return longest_s
        return self._planning.wait_s(self._clock.now_ms(), longest_s)


_NOTHING: Final = Rejected("none", "a barrier has no answer")


def pack_entries(encoded: list[bytes]) -> list[bytes]:
    """Join commands into entries of at most MAX_ENTRY_BYTES, in order."""
    entries: list[bytes] = []
    batch: list[bytes] = []
    size = _ENTRY_OVERHEAD
    for command in encoded:
        if batch and size + len(command) > MAX_ENTRY_BYTES:
            entries.append(join_entry(batch))
            batch, size = [], _ENTRY_OVERHEAD
        batch.append(command)
        size += len(command)
    if batch:
        entries.append(join_entry(batch))
    return entries


def _too_large(size: int) -> Rejected:
    return Rejected("too_large", f"the change takes {size} bytes; one may take at most {MAX_ENTRY_BYTES}")
