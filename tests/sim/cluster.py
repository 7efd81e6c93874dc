"""Several real logs in one thread on a virtual clock, a forgetful disk each, and the laws they must obey."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random

from chronos_worker.raft import Committed, Limits, LogConfig, LogStatus, NoLeader, QueueFull, Timing, open_log
from chronos_worker.raft.interface import ReplicatedLog
from tests.raft.machine import Machine
from tests.sim.disk import Crashed, SimDisk
from tests.sim.network import SimNetwork, VirtualClock

TIMING = Timing(heartbeat_s=0.1, quorum_loss_s=0.4, election_min_s=0.5, election_max_s=1.0, snapshot_idle_s=5.0)


class InlineExecutor(Executor):
    """Does the work at once: a background without chance."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


class LawBroken(AssertionError):
    """The cluster did what it must never do."""


class Laws:
    """Watches what nodes say and return. Knows nothing of how they work."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.two_at_once = 0

    def saw_status(self, status: LogStatus) -> None:
        """One leader a term (Raft §5.2)."""
        if status.role == "leader":
            leader = self.leaders.setdefault(status.term, status.node_id)
            if leader != status.node_id:
                raise LawBroken(f"term {status.term} is led by {leader} and {status.node_id}")

    def saw_committed(self, node_id: str, entries: list[Committed]) -> None:
        """What one node returns at an index, every node returns there (Raft §5.4)."""
        for entry in entries:
            known = self.committed.setdefault(entry.index, (entry.term, entry.data))
            if known != (entry.term, entry.data):
                raise LawBroken(f"{node_id} returns {entry} where {known} was committed")


class SimNode:
    """One member: its disk, its state machine, and its log while it runs."""

    def __init__(self, node_id: str, directory: Path, seed: int) -> None:
        self.node_id = node_id
        self.directory = directory
        self.disk = SimDisk(Random(seed))
        self.machine = Machine()
        self.log: ReplicatedLog | None = None
        self.paused_until = 0.0
        self.lives = 0
        self.chance = seed


class SimCluster:
    """Drives the nodes; every call of `run` polls them in turn while virtual time passes."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        seed: int = 0,
        *,
        timing: Timing = TIMING,
        limits: Limits | None = None,
        haunting: float = 0.0,
        delay_s: tuple[float, float] = (0.0005, 0.01),
    ) -> None:
        self.random = Random(seed)
        self.directory = directory
        self.clock = VirtualClock()
        self.network = SimNetwork(self.random, self.clock, delay_s=delay_s, link_timeout_s=1.0, haunting=haunting)
        self.laws = Laws()
        self.timing = timing
        self.limits = limits or Limits(trailing_entries=5, trailing_bytes=2000, snapshot_chunk_bytes=200)
        self.names = [f"n{number}" for number in range(1, size + 1)]
        self.nodes = {name: SimNode(name, directory / name, self.random.randrange(1 << 30)) for name in self.names}
        self.digest = hashlib.sha256()
        self.network.trace = self.note
        for name in self.names:
            self.start(name)

    def note(self, line: str) -> None:
        """Add a line to the trace whose digest tells whether two runs were the same."""
        self.digest.update(f"{self.clock.now:.6f} {line}\n".encode())

    # -- nodes --------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Open the log of a node that is down."""
        node = self.nodes[name]
        node.lives += 1
        try:
            node.log = self._open(node)
        except Crashed:
            self.network.remove(name)
            node.disk.crash()
            return
        node.paused_until = 0.0

    def join(self, name: str) -> None:
        """Start an empty node that nobody knows yet, with a configuration that names everybody."""
        self.names.append(name)
        self.nodes[name] = SimNode(name, self.directory / name, self.random.randrange(1 << 30))
        self.start(name)

    def leave(self, name: str) -> None:
        """Stop a node for good."""
        if self.nodes[name].log is not None:
            self.crash(name)
        self.names.remove(name)
        del self.nodes[name]

    def _open(self, node: SimNode) -> ReplicatedLog:
        name = node.node_id
        return open_log(
            LogConfig(
                node_id=name,
                data_dir=node.directory,
                listen=f"{name}:7000",
                peers={other: f"{other}:7000" for other in self.names if other != name},
                timing=self.timing,
                limits=self.limits,
            ),
            node.machine,
            clock=self.clock,
            random=Random(f"{node.chance}/{node.lives}"),
            files=node.disk,
            network=self.network.endpoint(name),
            background=InlineExecutor(),
        )

    def crash(self, name: str, *, power_cut: bool = True) -> None:
        """Stop a node where it stands; after a power cut its disk forgets what was not synced."""
        node = self.nodes[name]
        self.network.remove(name)
        node.log = None
        if power_cut:
            node.disk.crash()
        else:
            node.disk.kill()
        node.machine.crash()

    def close(self) -> None:
        """Give back every file."""
        for node in self.nodes.values():
            node.disk.kill()

    def lose_disk(self, name: str) -> None:
        """Stop a node and forget all it ever wrote; what starts in its place is empty."""
        node = self.nodes[name]
        if node.log is not None:
            self.crash(name)
        self.network.lay(name)
        shutil.rmtree(node.directory, ignore_errors=True)
        node.machine = Machine()

    def compact(self, name: str) -> None:
        """Make the state of a node durable and cut its log behind it."""
        node = self.nodes[name]
        if node.log is not None:
            try:
                node.log.compact(node.machine.make_durable())
            except Crashed:
                self.crash(name)

    def alive(self) -> list[SimNode]:
        """Return the nodes that run."""
        return [node for node in self.nodes.values() if node.log is not None]

    def log(self, name: str) -> ReplicatedLog:
        """Return the log of a node that runs."""
        log = self.nodes[name].log
        assert log is not None
        return log

    def status(self, name: str) -> LogStatus:
        """Return how a node sees the cluster."""
        return self.log(name).status()

    def leader(self) -> str | None:
        """Return the leader of the newest term that has one now."""
        leading = [node.log.status() for node in self.alive() if node.log is not None]
        return max(
            ((status.term, status.node_id) for status in leading if status.role == "leader"), default=(0, None)
        )[1]

    def propose(self, name: str, data: bytes) -> bool:
        """Propose at a node; whether it took the entry."""
        try:
            self.log(name).propose(data)
        except (NoLeader, QueueFull):
            return False
        return True

    # -- time ---------------------------------------------------------------------------------------------

    def step(self, names: list[str] | None = None, dt: float = 0.01) -> None:
        """Let time pass and poll the nodes once, in a drawn order."""
        self.clock.now += dt
        self.network.sleep({name for name, node in self.nodes.items() if node.paused_until > self.clock.now})
        self.network.advance()
        order = list(names or self.names)
        self.random.shuffle(order)
        for name in order:
            self.poll(name)

    def poll(self, name: str) -> list[Committed]:
        """Give one node a turn, and watch the laws."""
        node = self.nodes[name]
        if node.log is None or node.paused_until > self.clock.now:
            return []
        try:
            entries = node.log.poll(0.0)
        except Crashed:
            self.crash(name)
            return []
        status = node.log.status()
        self.laws.saw_committed(name, entries)
        self.laws.saw_status(status)
        node.machine.apply(entries)
        if entries:
            self.note(f"{name} returned {entries[0].index}..{entries[-1].index}")
        return entries

    def run(self, seconds: float, dt: float = 0.01) -> None:
        """Let time pass."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.step(dt=dt)

    def until(self, condition, within_s: float = 20.0, dt: float = 0.01) -> None:
        """Let time pass until the condition holds.

        Raises:
            LawBroken: it does not within `within_s` virtual seconds.
        """
        until = self.clock.now + within_s
        while not condition():
            if self.clock.now > until:
                views = [node.log.status() for node in self.alive() if node.log is not None]
                raise LawBroken(f"not within {within_s} s; " + "; ".join(map(str, views)))
            self.step(dt=dt)

    def elect(self) -> str:
        """Wait for a leader that everybody alive follows."""

        def settled() -> bool:
            leader = self.leader()
            return leader is not None and all(
                node.log.status().leader_id == leader for node in self.alive() if node.log is not None
            )

        self.until(settled)
        leader = self.leader()
        assert leader is not None
        return leader

    def commit(self, data: bytes, within_s: float = 20.0) -> None:
        """Propose until every living node has applied `data`."""

        def everywhere() -> bool:
            lacking = [node for node in self.alive() if all(found != data for _, found in node.machine.entries)]
            leader = self.leader()
            if lacking and leader is not None and all(found != data for _, found in self.seen(leader)):
                self.propose(leader, data)
            return not lacking

        self.until(everywhere, within_s, dt=0.05)

    def seen(self, name: str) -> list[tuple[int, bytes]]:
        """Return what a node has applied."""
        return self.nodes[name].machine.entries

    def states(self) -> set[tuple[tuple[int, bytes], ...]]:
        """Return the distinct states of the living nodes."""
        return {tuple(node.machine.entries) for node in self.alive()}
