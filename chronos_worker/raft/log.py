"""`PySyncObjLog`: the replicated log as the worker sees it, and the order in which a turn does things."""

from __future__ import annotations

from random import SystemRandom
from time import monotonic
from typing import TYPE_CHECKING

from pysyncobj.transport import Transport

from chronos_worker.raft.engine import Engine, engage
from chronos_worker.raft.errors import LogClosed, NoLeader, QueueFull
from chronos_worker.raft.files import OsFiles
from chronos_worker.raft.interface import Committed, LogStatus
from chronos_worker.raft.lone import LoneNetwork
from chronos_worker.raft.proposals import Proposals
from chronos_worker.raft.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from chronos_worker.raft.config import LogConfig
    from chronos_worker.raft.files import Files
    from chronos_worker.raft.interface import ReplicatedLog, StateMachineSnapshots


def open_log(
    config: LogConfig,
    snapshots: StateMachineSnapshots,
    *,
    clock: Callable[[], float] = monotonic,
    random: Random | None = None,
    files: Files | None = None,
) -> ReplicatedLog:
    """Open the log of one member.

    Args:
        config: who this node is, where its files are, who its peers are.
        snapshots: the state machine; `applied()` decides where `poll` goes on.
        clock: monotonic seconds.
        random: chance for election timeouts.
        files: the file system.

    Raises:
        BadLogConfig: the configuration is contradictory or unsafe.
        FatalLogError: the data directory is busy, damaged, or somebody else's.
    """
    config.check()
    storage = Storage(files or OsFiles(), config, snapshots.applied()[0])
    return PySyncObjLog(config, storage, clock, random or SystemRandom())


class PySyncObjLog:
    """`ReplicatedLog` on PySyncObj. One thread owns it."""

    def __init__(
        self, config: LogConfig, storage: Storage, clock: Callable[[], float], random: Random
    ) -> None:
        self._config = config
        self._storage = storage
        self._journal = storage.journal
        self._clock = clock
        self._random = random
        self._closed: str | None = None
        self._proposals = Proposals(config.limits)
        self._network = LoneNetwork()
        engage(clock, random)
        self._engine = Engine(config.node_id, list(config.peers), config.timing, Transport(None, None, None))
        self._engine.adopt(self, storage.journal, storage.vote, storage.applied)
        self._returned = storage.applied
        self._engine.hasten_election()

    def propose(self, data: bytes) -> None:
        """See `ReplicatedLog.propose`."""
        self._check_open()
        if self._engine.leader_id() is None:
            raise NoLeader("no leader is known; propose again later")
        uncommitted = self._journal.bytes_after(self._engine.commit_index())
        if uncommitted > self._config.limits.uncommitted_bytes:
            raise QueueFull(f"{uncommitted} bytes are appended and not committed yet")
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
        return LogStatus(
            node_id=self._config.node_id,
            role=self._engine.role(),
            leader_id=self._engine.leader_id(),
            term=self._engine.term(),
            commit_index=self._engine.commit_index(),
            returned_index=self._returned,
            first_index=self._journal.base_index + 1,
            last_index=self._journal.last_index,
            journal_bytes=self._journal.size_bytes,
            is_caught_up=self._engine.leader_id() is not None
            and self._returned == self._engine.commit_index(),
            members=self._config.members,
        )

    def compact(self, durable_index: int) -> None:
        """See `ReplicatedLog.compact`."""
        self._check_open()
        self._storage.compact(min(durable_index, self._returned))

    def transfer_leadership(self, to: str | None) -> None:
        """See `ReplicatedLog.transfer_leadership`. A cluster of one has nobody to hand over to."""

    def close(self) -> None:
        """See `ReplicatedLog.close`."""
        if self._closed is None:
            self._closed = "the log is closed"
        self._network.close()
        self._storage.close()

    # -- one turn -----------------------------------------------------------------------------------------

    def _wait_s(self, timeout_s: float) -> float:
        if self._proposals or self._engine.election_due():
            return 0.0
        return min(timeout_s, self._config.timing.tick_s)

    def _turn(self, wait_s: float) -> None:
        """The order is the safety: receive, sync, acknowledge, count and send, sync, count again."""
        self._network.poll(wait_s)
        self._journal.sync()
        self._engine.tick()
        if self._journal.dirty:
            self._network.flush()
            self._journal.sync()
            if not self._config.peers:
                self._engine.tick()

    def _collect(self) -> list[Committed]:
        """Return what is committed and durable here, from the journal itself."""
        upto = min(self._engine.applied_index(), self._journal.synced_index)
        entries = self._journal.between(self._returned, upto)
        self._returned = max(self._returned, upto)
        return [Committed(entry.idx, entry.term, entry.command[1:]) for entry in entries]

    # -- what the library leaves to us (`Driver`) ---------------------------------------------------------

    def became_leader(self) -> None:
        """Nobody has to be told."""

    def append_proposals(self) -> None:
        """Append what waits."""
        for data in self._proposals.take():
            self._engine.append(data)

    def replicate(self, *, heartbeat: bool) -> None:
        """There is nobody to send to."""

    def _check_open(self) -> None:
        if self._closed is not None:
            raise LogClosed(self._closed)
