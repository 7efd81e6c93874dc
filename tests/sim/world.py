"""Whole nodes in one thread: real node, real log, real SQLite; time, chance, network, disk and targets are drawn."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chronos_common.commands import READS, Claim
from chronos_common.models import NodeInfo
from chronos_common.protocol import Proposal, ProposeReply
from chronos_worker.clock_watch import ClockStep
from chronos_worker.deliveries import Deliveries
from chronos_worker.desk import Desk, Slip
from chronos_worker.dispatch import Delivery, DeliveryResult
from chronos_worker.node import Node, NodeSettings
from chronos_worker.progress import Progress
from chronos_worker.proposals import Completer
from chronos_worker.raft import DiskFailed, FatalLogError, Limits, LogConfig, LogDiverged, Timing, open_log
from chronos_worker.raft.interface import Committed, LogStatus, ReplicatedLog
from chronos_worker.state_machine.machine import StateMachine
from chronos_worker.store.database import Database
from chronos_worker.store.digest import digest_of
from chronos_worker.store.snapshots import Snapshots
from chronos_worker.verifier import Comparison, Verifier
from chronos_worker.worker import anchors
from tests.sim.cluster import InlineExecutor, LawBroken, Laws
from tests.sim.disk import Crashed, SimDisk
from tests.sim.network import SimNetwork, VirtualClock
from tests.sim.replica import InlineCheckpoints, SimDatabase, restore
from tests.sim.targets import SimPool, Targets

EPOCH_MS = 1_767_225_590_000
"""2025-12-31T23:59:50Z: a minute, an hour, a month and a year begin soon after."""
LONELY_S = 1.0
"""More than the quorum loss time of TIMING and the delays of any network here."""
TIMING = Timing(heartbeat_s=0.1, quorum_loss_s=0.4, election_min_s=0.5, election_max_s=1.0, snapshot_idle_s=5.0)


@dataclass
class NodeClock:
    """`Clock` of one node: its wall clock may be wrong and may be moved."""

    time: VirtualClock
    offset_ms: int = 0

    def now_ms(self) -> int:
        return EPOCH_MS + int((self.time.now - self.time.origin) * 1000) + self.offset_ms

    def monotonic_s(self) -> float:
        return self.time.now


class WatchedLog:
    """A log whose every word the laws hear."""

    def __init__(self, name: str, log: ReplicatedLog, laws: Laws, note: Callable[[str], None]) -> None:
        self._name = name
        self._log = log
        self._laws = laws
        self._note = note
        self.propose = log.propose
        self.wake = log.wake
        self.compact = log.compact
        self.transfer_leadership = log.transfer_leadership
        self.add_member = log.add_member
        self.remove_member = log.remove_member
        self.close = log.close

    def poll(self, timeout_s: float) -> list[Committed]:
        entries = self._log.poll(timeout_s)
        self._laws.saw_committed(self._name, entries)
        if entries:
            self._note(f"{self._name} gets {entries[0].index}..{entries[-1].index}")
        return entries

    def status(self) -> LogStatus:
        status = self._log.status()
        self._laws.saw_status(status)
        return status


class Ear:
    """Observer of a node; nobody asks it anything here."""

    def plan_applied(self, after_s: float) -> None: ...
    def clock_stepped(self, step: ClockStep) -> None: ...
    def nodes_changed(self, nodes: list[NodeInfo]) -> None: ...
    def life_began(self, claim: Claim) -> None: ...
    def absent(self, silent_s: float) -> None: ...
    def attempt_ended(self, result: DeliveryResult, lateness_ms: int) -> None: ...


@dataclass
class Process:
    """What a node is while it runs."""

    node: Node
    log: WatchedLog
    desk: Desk
    database: Database
    machine: StateMachine
    pool: SimPool


@dataclass
class SimNode:
    """One node: its machine, and its process while it runs."""

    name: str
    directory: Path
    disk: SimDisk
    clock: NodeClock
    seed: int
    seats: int
    lives: int = 0
    incarnation: int = 0
    paused_until: float = 0.0
    alone_since: float = 0.0
    process: Process | None = field(default=None)

    def next_incarnation(self, at_least: int) -> int:
        """As `DataDir` does: on disk before it is used."""
        self.incarnation = max(self.incarnation + 1, at_least)
        return self.incarnation


class World:
    """Some nodes, the network between them, and everything they touch."""

    def __init__(
        self, directory: Path, seed: int, size: int, *, haunting: float, delay_s: tuple[float, float]
    ) -> None:
        self.random = Random(f"world {seed}")
        self.clock = VirtualClock()
        self.network = SimNetwork(self.random, self.clock, delay_s=delay_s, link_timeout_s=1.0, haunting=haunting)
        self.targets = Targets(self.random, self.clock)
        self.laws = Laws()
        self.limits = Limits(
            batch_bytes=self.random.choice([200, 2_000, 1 << 20]),
            trailing_entries=5,
            trailing_bytes=2_000,
            journal_piece_bytes=400,
            snapshot_chunk_bytes=16 << 10,
        )
        self.names = [f"n{number}" for number in range(1, size + 1)]
        self.digests: dict[int, str] = {}
        self.trace: list[str] = []
        self.crashes = 0
        self.hash = hashlib.sha256()
        self.nodes = {name: self._machine(directory / name, name) for name in self.names}
        for name in self.names:
            self.start(name)

    def note(self, line: str) -> None:
        """Add a line to the transcript."""
        text = f"{self.clock.now - self.clock.origin:9.3f} {line}"
        self.trace.append(text)
        self.hash.update(text.encode() + b"\n")

    def _machine(self, directory: Path, name: str) -> SimNode:
        directory.mkdir(parents=True)
        disk = SimDisk(Random(self.random.getrandbits(32)))
        return SimNode(
            name, directory, disk, NodeClock(self.clock), self.random.getrandbits(32), self.random.choice([2, 10, 50])
        )

    def reads(self, _name: str) -> int:
        """The highest level of commands the build on a node reads."""
        return READS

    # -- processes ----------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start the process of a node that is down; it may lose power before it stands."""
        machine = self.nodes[name]
        machine.lives += 1
        machine.paused_until = 0.0
        database = SimDatabase(machine.directory / "chronos.sqlite3", self.reads(name))
        try:
            machine.process = self._process(machine, database, Random(f"{machine.seed} {machine.lives}"))
        except Crashed:
            database.close()
            self._lose_power(machine)
        except DiskFailed as failure:
            database.close()
            machine.disk.kill()
            self.note(f"{name} does not start: {failure}")
        else:
            self.note(f"{name} starts")

    def _process(self, machine: SimNode, database: Database, chance: Random) -> Process:
        """What `Worker` puts together, with the outside replaced."""
        name = machine.name
        snapshots = Snapshots(database)
        log = WatchedLog(name, self._open_log(machine, snapshots, chance), self.laws, self.note)
        state_machine = StateMachine(database, self.reads(name))
        pool = SimPool(name, self.targets, machine.clock.now_ms, self._may_send(name, database), self.note)
        desk = Desk(log.wake)
        node = Node(
            NodeSettings(name, f"http://{name}", machine.seats, node_grace_s=4.0, reads=self.reads(name)),
            log=log,
            database=database,
            checkpoints=InlineCheckpoints(database),
            machine=state_machine,
            deliveries=Deliveries(database, pool, Ear(), machine.clock, chance.random),
            desk=desk,
            completer=Completer(anchors(database), chance.getrandbits),
            progress=Progress(state_machine.applied_index),
            snapshots=snapshots,
            verifier=Verifier(
                database,
                name,
                wake=log.wake,
                disagree=self._disagree,
                background=InlineExecutor(),
                interval_s=3.0,
            ),
            observer=Ear(),
            clock=machine.clock,
            next_incarnation=machine.next_incarnation,
        )
        return Process(node, log, desk, database, state_machine, pool)

    def _open_log(self, machine: SimNode, snapshots: Snapshots, chance: Random) -> ReplicatedLog:
        config = LogConfig(
            node_id=machine.name,
            data_dir=machine.directory / "raft",
            listen=f"{machine.name}:7600",
            peers={other: f"{other}:7600" for other in self.names if other != machine.name},
            timing=TIMING,
            limits=self.limits,
        )
        return open_log(
            config,
            snapshots,
            clock=self.clock,
            random=chance,
            files=machine.disk,
            network=self.network.endpoint(machine.name),
            background=InlineExecutor(),
        )

    def crash(self, name: str, *, power_cut: bool) -> None:
        """Stop a process where it stands; a power cut takes what the disk had not synced."""
        machine = self.nodes[name]
        if machine.process is None:
            return
        self.crashes += 1
        machine.process.pool.die()
        machine.process.database.close()
        machine.process = None
        self.network.remove(name)
        if power_cut:
            self._lose_power(machine)
        else:
            machine.disk.kill()
            self.note(f"{name} is killed")

    def _lose_power(self, machine: SimNode) -> None:
        machine.disk.crash()
        restore(machine.directory / "chronos.sqlite3")
        self.note(f"{machine.name} loses power")

    def close(self) -> None:
        """Give back every file."""
        for machine in self.nodes.values():
            if machine.process is not None:
                machine.process.database.close()
            machine.disk.kill()

    def lose_disk(self, name: str) -> None:
        """Stop a node for good and put an empty machine in its place; the incarnation is gone with the disk."""
        self.crash(name, power_cut=True)
        machine = self.nodes[name]
        self.network.lay(name)
        shutil.rmtree(machine.directory)
        machine.directory.mkdir()
        machine.incarnation = 0
        self.note(f"{name} loses its disk")

    def running(self) -> list[SimNode]:
        """The nodes whose process runs."""
        return [machine for machine in self.nodes.values() if machine.process is not None]

    def leader(self) -> SimNode | None:
        """The node that leads in the newest term, as it thinks itself."""
        leading = [
            (status.term, machine.name)
            for machine in self.running()
            if machine.process is not None and (status := machine.process.log.status()).role == "leader"
        ]
        return self.nodes[max(leading)[1]] if leading else None

    # -- time ---------------------------------------------------------------------------------------------

    def step(self, dt: float) -> None:
        """Let time pass and give every node a turn, in a drawn order."""
        self.clock.now += dt
        self.network.sleep({name for name in self.names if self.nodes[name].paused_until > self.clock.now})
        self.network.advance()
        for name in self.names:
            if (process := self.nodes[name].process) is not None:
                process.pool.go_on()
        order = list(self.names)
        self.random.shuffle(order)
        for name in order:
            self._turn(self.nodes[name])
        self._leaders_have_followers()

    def _leaders_have_followers(self) -> None:
        """Who cannot hear a majority, or is not heard by one, does not think for long that it leads."""
        for machine in self.nodes.values():
            able = machine.process is not None and machine.paused_until <= self.clock.now
            if not able or self._hears_majority(machine.name):
                machine.alone_since = self.clock.now
            elif self.clock.now - machine.alone_since > LONELY_S and self._thinks_it_leads(machine):
                raise LawBroken(f"{machine.name} leads {LONELY_S} s after it lost its quorum")

    def _thinks_it_leads(self, machine: SimNode) -> bool:
        return machine.process is not None and machine.process.log.status().role == "leader"

    def _hears_majority(self, name: str) -> bool:
        process = self.nodes[name].process
        voters = set(self.names) if process is None else process.log.status().voters
        heard = [other for other in voters - {name} if self._is_heard(self.nodes[other], by=name)]
        return 2 * (len(heard) + (name in voters)) > len(voters)

    def _is_heard(self, machine: SimNode, by: str) -> bool:
        """Whether a node can speak, or what it said before it died or paused still arrives."""
        if self.network.is_cut(by, machine.name):
            return False
        able = machine.process is not None and machine.paused_until <= self.clock.now
        return able or self.network.silent_s(machine.name, to=by) < TIMING.quorum_loss_s

    def _turn(self, machine: SimNode) -> None:
        if machine.process is None or machine.paused_until > self.clock.now:
            return
        try:
            machine.process.node.step()
        except LogDiverged as error:
            raise LawBroken(str(error)) from error
        except Crashed:
            self.crash(machine.name, power_cut=True)
        except (FatalLogError, OSError) as error:
            # As `__main__` does: a disk that failed ends the process.
            self.note(f"{machine.name} stops: {str(error).replace(str(machine.directory), '')}")
            self.crash(machine.name, power_cut=False)

    def digest(self, machine: SimNode) -> None:
        """Compare a replica with the others at the same index."""
        if machine.process is None:
            return
        with machine.process.database.read() as connection:
            index, found, _ = digest_of(connection)
        known = self.digests.setdefault(index, found)
        if known != found:
            raise LawBroken(f"{machine.name} has other rows at index {index} than another node had there")

    def _disagree(self, comparison: Comparison) -> None:
        raise LawBroken(f"the nodes themselves find that they differ: {comparison}")

    # -- clients ------------------------------------------------------------------------------------------

    def ask(self, name: str, proposal: Proposal) -> Slip | ProposeReply | None:
        """Hand a client's request to a node; None if nobody is there."""
        process = self.nodes[name].process
        return None if process is None else process.desk.admit(proposal)

    def _may_send(self, name: str, database: Database) -> Callable[[Delivery], None]:
        """A delivery may begin only once a committed transaction of its node says so."""

        def check(delivery: Delivery) -> None:
            with database.read() as connection:
                row = connection.exec_driver_sql(
                    "SELECT status, attempt, node_id FROM executions WHERE id = ?", (delivery.execution_id,)
                ).one_or_none()
            if row is None or row.attempt < delivery.attempt:
                raise LawBroken(f"{name} sends {delivery.execution_id.hex()}/{delivery.attempt} before its commit")

        return check
