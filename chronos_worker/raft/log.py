"""`PySyncObjLog`: the replicated log as the worker sees it, and the order in which a turn does things."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from random import SystemRandom
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from chronos_worker.raft.election import Elections
from chronos_worker.raft.engine import NO_OP, REGULAR, Engine, engage
from chronos_worker.raft.errors import BadLogConfig, ChangeRefused, FatalLogError, LogClosed, NoLeader, QueueFull
from chronos_worker.raft.files import OsFiles
from chronos_worker.raft.guard import Guard
from chronos_worker.raft.handover import Handover
from chronos_worker.raft.interface import Committed, LogStatus
from chronos_worker.raft.lone import LoneNetwork
from chronos_worker.raft.membership import decode_agreed
from chronos_worker.raft.messages import Forward, SnapshotChunk, SnapshotOffer, SnapshotWanted
from chronos_worker.raft.proposals import Proposals
from chronos_worker.raft.reconfiguration import Reconfiguration
from chronos_worker.raft.replication import Replicator
from chronos_worker.raft.snapshot_sink import SnapshotSink
from chronos_worker.raft.snapshot_source import SnapshotSource
from chronos_worker.raft.storage import Storage
from chronos_worker.raft.tcp import TcpNetwork

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from random import Random

    from chronos_worker.raft.config import LogConfig
    from chronos_worker.raft.files import Files
    from chronos_worker.raft.interface import ReplicatedLog, StateMachineSnapshots
    from chronos_worker.raft.membership import Agreed
    from chronos_worker.raft.network import Network

_log = structlog.get_logger("chronos.raft")


def open_log(
    config: LogConfig,
    snapshots: StateMachineSnapshots,
    *,
    clock: Callable[[], float] = monotonic,
    random: Random | None = None,
    files: Files | None = None,
    network: Network | None = None,
    background: Executor | None = None,
) -> ReplicatedLog:
    """Open the log of one member.

    Args:
        config: who this node is, where its files are, who its peers are.
        snapshots: the state machine; `applied()` decides where `poll` goes on.
        clock: monotonic seconds.
        random: chance for election timeouts and redials.
        files: the file system.
        network: links to the peers, instead of TCP as configured.
        background: where snapshots are made and verified; one thread of our own by default.

    Raises:
        BadLogConfig: the configuration is contradictory or unsafe, or the address cannot be bound.
        FatalLogError: the data directory is busy, damaged, or somebody else's.
    """
    config.check()
    random = random or SystemRandom()
    storage = Storage(files or OsFiles(), config, snapshots.applied()[0])
    try:
        _check_alone(config, storage)
        if network is None and config.peers:
            network = TcpNetwork(config, clock, random)
        background = background or ThreadPoolExecutor(1, thread_name_prefix="raft-snapshots")
        return PySyncObjLog(config, storage, snapshots, network or LoneNetwork(), background, clock, random)
    except BaseException:
        storage.close()
        raise


def _check_alone(config: LogConfig, storage: Storage) -> None:
    others = storage.membership.current.configuration.members.keys() - {config.node_id}
    if others and not config.peers:
        raise BadLogConfig(
            f"{config.data_dir} belongs to a cluster with {', '.join(sorted(others))}, and this configuration "
            "names no peers; name them, or use another data directory for a node of its own"
        )


class PySyncObjLog:
    """`ReplicatedLog` on PySyncObj. One thread owns it."""

    def __init__(
        self,
        config: LogConfig,
        storage: Storage,
        snapshots: StateMachineSnapshots,
        network: Network,
        background: Executor,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        engage(clock, random)
        timing = config.timing
        self._config = config
        self._storage = storage
        self._snapshots = snapshots
        self._background = background
        self._journal = storage.journal
        self._membership = storage.membership
        self._configured: tuple[Agreed, frozenset[str]] | None = None
        self._network = network
        self._clock = clock
        self._random = random
        self._closed: str | None = None
        self._proposals = Proposals(config.limits)
        self._caught_up_at: tuple[int, int] | None = None
        """Index and term of what has to be returned before this node is up to date."""
        self._returned = storage.applied
        self._is_caught_up = False
        self._guard = Guard(network)
        self._engine = Engine(config.node_id, timing, self._guard)
        self._engine.adopt(self, storage)
        self._replicator = Replicator(self._engine, self._journal, network, config.limits)
        self._elections = Elections(
            self._engine, self._journal, storage.vote, network, clock, random, timing.election_min_s
        )
        self._handover = Handover(self._engine, self._journal, network, clock, timing.election_min_s)
        self._reconfiguration = Reconfiguration(
            config.node_id,
            self._engine,
            storage,
            self._replicator,
            self._handover,
            network,
        )
        self._guard.adopt(self._engine, self._journal, self._elections, self._replicator, self)
        self._source = SnapshotSource(config, snapshots, self._engine, storage, network, background, clock)
        self._sink = SnapshotSink(
            config.data_dir, self._engine, network, storage.files, background, clock, self._vouch
        )
        network.attach(self._guard)
        self._reconfigure()
        if self._is_alone():
            self._engine.hasten_election()

    # -- `ReplicatedLog` ----------------------------------------------------------------------------------

    def propose(self, data: bytes) -> None:
        """See `ReplicatedLog.propose`."""
        self._check_open()
        leader = self._engine.leader_id()
        if leader is None:
            raise NoLeader("no leader is known; propose again later")
        if leader != self._config.node_id and not self._network.is_connected(leader):
            raise NoLeader(f"the leader {leader!r} is not reachable; propose again later")
        if self._handover.is_under_way:
            raise NoLeader("leadership is being handed over; propose again later")
        self._check_room()
        self._proposals.put(data)

    def poll(self, timeout_s: float) -> list[Committed]:
        """See `ReplicatedLog.poll`."""
        self._check_open()
        try:
            engage(self._clock, self._random)
            self._turn(self._wait_s(timeout_s))
            return self._collect()
        except Exception as error:
            # Whatever it was, what this node believes about itself may be wrong now.
            self._closed = f"the log failed before: {error}"
            raise

    def wake(self) -> None:
        """See `ReplicatedLog.wake`."""
        self._network.wake()

    def status(self) -> LogStatus:
        """See `ReplicatedLog.status`."""
        self._check_open()
        role, heard, now = self._engine.role(), self._network.last_heard(), self._clock()
        agreed = self._membership.current
        configuration = agreed.configuration
        return LogStatus(
            node_id=self._config.node_id,
            role=role,
            leader_id=self._engine.leader_id(),
            term=self._engine.term(),
            commit_index=self._engine.commit_index(),
            returned_index=self._returned,
            first_index=self._journal.base_index + 1,
            last_index=self._journal.last_index,
            journal_bytes=self._journal.size_bytes,
            is_caught_up=self._is_caught_up,
            members=configuration.addresses,
            voters=configuration.voters,
            members_index=agreed.index,
            cluster_id=configuration.cluster_id,
            peers_contact={
                peer: now - heard[peer] if peer in heard else math.inf
                for peer in configuration.members
                if peer != self._config.node_id
            },
            match_index=self._engine.match_index() if role == "leader" else {},
            rejected=self._network.rejected(),
            problems=self._network.problems(),
        )

    def compact(self, durable_index: int) -> None:
        """See `ReplicatedLog.compact`."""
        self._check_open()
        pinned = self._source.pinned_index()
        bound = self._returned if pinned is None else min(pinned, self._returned)
        self._storage.compact(min(durable_index, bound))

    def transfer_leadership(self, to: str | None) -> None:
        """See `ReplicatedLog.transfer_leadership`."""
        self._check_open()
        self._handover.begin(to)

    def add_member(self, node_id: str, address: str) -> None:
        """See `ReplicatedLog.add_member`."""
        self._check_open()
        if not self._config.listen:
            raise ChangeRefused(
                "this node runs alone and has no Raft port: name its peers and cluster.raft.address in its "
                "configuration, with a cluster secret or TLS, and start it again"
            )
        self._reconfiguration.add(node_id, address)
        self._reconfigure()

    def remove_member(self, node_id: str) -> None:
        """See `ReplicatedLog.remove_member`."""
        self._check_open()
        self._reconfiguration.remove(node_id)
        self._reconfigure()

    def close(self) -> None:
        """See `ReplicatedLog.close`."""
        if self._closed is None:
            self._closed = "the log is closed"
        self._network.close()
        self._background.shutdown(wait=True, cancel_futures=True)
        self._source.close()
        self._sink.close()
        self._storage.close()

    # -- one turn -----------------------------------------------------------------------------------------

    def _wait_s(self, timeout_s: float) -> float:
        if self._proposals or self._engine.election_due():
            return 0.0
        return min(timeout_s, self._config.timing.tick_s)

    def _turn(self, wait_s: float) -> None:
        """The order is the safety: receive, sync, acknowledge, count and send, sync, count again."""
        self._network.poll(wait_s)
        self._install_snapshot()
        self._journal.sync()
        self._guard.release()
        self._elections.before_tick()
        self._engine.tick()
        if self._engine.role() == "leader":
            self._reconfiguration.promote()
            self._source.step(self._replicator.behind())
        self._reconfigure()
        self._handover.advance()
        self._network.flush()
        if self._journal.dirty:
            self._journal.sync()  # the followers sync at the same time
            if self._is_alone():
                self._engine.tick()
        self._journal.go_on()

    def _reconfigure(self) -> None:
        """Let everybody follow the list in force, as soon as it is appended (Raft §6)."""
        agreed, staying = self._membership.current, self._membership.staying(self._engine.commit_index())
        if self._configured == (agreed, staying):
            return
        self._configured = agreed, staying
        us = self._config.node_id
        self._engine.set_voters(agreed.configuration.voters - {us})
        self._elections.configure(us, agreed.configuration)
        self._replicator.follow(staying - {us})
        self._network.configure(agreed, staying)

    def _is_alone(self) -> bool:
        return self._membership.current.configuration.voters == {self._config.node_id}

    def _install_snapshot(self) -> None:
        """Replace the state machine once a snapshot has arrived, unless the log was faster."""
        received = self._sink.received()
        if received is None:
            return
        file, wanted = received
        if wanted.index > self._engine.commit_index():
            try:
                members = decode_agreed(wanted.members)
                self._storage.install(file, wanted.index, wanted.term, members, self._snapshots.install)
            except FatalLogError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the store finds wrong with the file
                self._sink.give_up(f"the state machine refuses it: {error}")
                return
            self._reconfigure()
            self._engine.jump_to(wanted.index)
            self._returned = wanted.index
            _log.info("raft_snapshot_installed", index=wanted.index, term=wanted.term)
        self._sink.done()
        self._vouch(wanted.index)

    def _vouch(self, index: int) -> None:
        """Tell the leader that everything up to `index` is here."""
        leader = self._engine.leader_id()
        if leader is not None and leader != self._config.node_id:
            self._guard.vouch(leader, index)

    def _collect(self) -> list[Committed]:
        """Return what is committed and durable here, from the journal itself."""
        upto = min(self._engine.applied_index(), self._journal.synced_index)
        entries = self._journal.between(self._returned, upto)
        self._returned = max(self._returned, upto)
        if not self._is_caught_up and self._reaches_contact():
            self._storage.join()
            self._is_caught_up = True
        return [Committed(entry.idx, entry.term, _data_of(entry.command)) for entry in entries]

    # -- what the library leaves to us (`Driver`) ---------------------------------------------------------

    def became_leader(self) -> None:
        """Send to everybody anew; be caught up when the first entry of the term is committed."""
        self._replicator.lead(self._elections.allies)
        self._reconfiguration.found(f"{self._random.getrandbits(64):016x}")
        self._reconfigure()
        if self._caught_up_at is None:
            self._caught_up_at = (self._journal.last_index + 1, self._engine.term())

    def append_proposals(self) -> None:
        """Append what waits, or forward it to the leader; nothing is kept for a later one."""
        entries = self._proposals.take()
        leader = self._engine.leader_id()
        if self._engine.role() == "leader":
            for data in entries:
                self._engine.append(REGULAR + data)
            self._replicator.trust()
            if self._replicator.wants_proof():
                self._engine.append(NO_OP)
        elif leader is not None:
            for batch in _batches(entries, self._config.limits.batch_bytes):
                self._network.send(leader, Forward(batch))

    def replicate(self, *, heartbeat: bool) -> None:
        """Send to the followers."""
        self._replicator.replicate(heartbeat=heartbeat)

    # -- what is not the library's business (`Aside`) -----------------------------------------------------

    def forwarded(self, entries: list[bytes]) -> None:
        """Queue what followers propose; what does not fit is theirs to propose again."""
        if self._engine.role() != "leader" or self._handover.is_under_way:
            return
        try:
            self._check_room()
            for data in entries:
                self._proposals.put(data)
        except QueueFull:
            return

    def entries_received(self) -> None:
        """Follow a list of members that came with them at once."""
        self._reconfigure()

    def leader_contact(self, commit_index: int) -> None:
        """Note how far the first leader had come that told it; see `Replicator` for why one may not."""
        if self._caught_up_at is None and commit_index:
            self._caught_up_at = (commit_index, self._engine.term())

    def _reaches_contact(self) -> bool:
        """Whether all that was committed before the first contact has been returned.

        A new leader's own commit index may lag behind what its predecessors committed; only an entry of its
        own term shows that everything before is there (Raft §5.4.2, §8).
        """
        if self._caught_up_at is None:
            return False
        index, term = self._caught_up_at
        returned_term = self._journal.term_at(self._returned)
        return self._returned >= index and returned_term is not None and returned_term >= term

    def snapshot_message(self, peer: str, message: SnapshotOffer | SnapshotWanted | SnapshotChunk) -> None:
        """Pull from the leader, or serve a follower."""
        match message:
            case SnapshotOffer():
                self._sink.offered(peer, message)
            case SnapshotChunk():
                self._sink.chunk(peer, message)
            case SnapshotWanted():
                self._source.wanted(peer, message)

    def _check_room(self) -> None:
        uncommitted = self._journal.bytes_after(self._engine.commit_index())
        if uncommitted > self._config.limits.uncommitted_bytes:
            raise QueueFull(f"{uncommitted} bytes are appended and not committed yet")

    def _check_open(self) -> None:
        if self._closed is not None:
            raise LogClosed(self._closed)


def _batches(entries: list[bytes], limit: int) -> list[list[bytes]]:
    """Split into batches of at most `limit` bytes, or one entry."""
    batches: list[list[bytes]] = []
    size = limit
    for data in entries:
        if size + len(data) > limit:
            batches.append([])
            size = 0
        batches[-1].append(data)
        size += len(data)
    return batches


def _data_of(command: bytes) -> bytes:
    """Return what the state machine has to apply; nothing of what is the log's own."""
    return command[1:] if command[:1] == REGULAR else b""
