"""The one place that knows PySyncObj from the inside.

The library keeps term, role, vote and commit index, times elections, counts replicas and decides how far a
follower may apply. What it does unsafely is taken from it here, through names of exactly version 0.3.17
(`chronos_worker/raft/DESIGN.md` lists them and why): the journal, the sending side of replication, the
command queue, the poller, and the call into user code.
"""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import astuple
from pysyncobj import SyncObj, SyncObjConf, syncobj
from pysyncobj.journal import Journal as LibraryJournalBase
from pysyncobj.node import Node

from chronos_worker.raft.errors import LogDiverged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from random import Random

    from pysyncobj.transport import Transport

    from chronos_worker.raft.config import Timing
    from chronos_worker.raft.interface import Role
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.membership import Membership
    from chronos_worker.raft.storage import Storage
    from chronos_worker.raft.vote import VoteFile

REGULAR: Final = b"\x00"
"""The library's tag in front of a command of ours."""
NO_OP: Final = b"\x01"
"""The library's entry that changes nothing, as each leader begins with."""

_FOLLOWER: Final = 0
_LEADER: Final = 2
_ROLES: Final[dict[int, Role]] = {0: "follower", 1: "candidate", 2: "leader"}
_NEVER: Final = 10**9


class Driver(Protocol):
    """Who does the parts of a tick that the library does not."""

    def became_leader(self) -> None:
        """The election is won; nothing of the new term has been appended yet."""

    def append_proposals(self) -> None:
        """Append or forward what waits, after what was committed is known."""

    def replicate(self, *, heartbeat: bool) -> None:
        """Send entries to those who lack them; with `heartbeat` to everybody, entries or not."""


class RaftNode(Node):  # type: ignore[misc]
    """A member by its id. The hash does not depend on PYTHONHASHSEED: sets of nodes iterate repeatably."""

    def __hash__(self) -> int:
        return zlib.crc32(str(self.id).encode())


class _NoPoller:
    """We wait ourselves, in `Network.poll`."""

    def poll(self, _timeout_s: float) -> None:
        """Return at once."""


class LibraryJournal(LibraryJournalBase):  # type: ignore[misc]
    """Our journal in the library's words. Position 0 is the base entry."""

    def __init__(
        self, journal: Journal, vote: VoteFile, membership: Membership, commit_index: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._vote = vote
        self._membership = membership
        self._commit_index = commit_index

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append; an entry that is there already stays, one that conflicts goes (Raft §5.3)."""
        known = self._journal.term_at(idx)
        if known == term or idx <= self._journal.base_index:
            return
        if known is not None:
            if idx <= self._commit_index():
                raise LogDiverged(f"the leader of term {term} contradicts entry {idx} (term {known}), committed here")
            self._journal.cut_from(idx)
            self._membership.cut(idx)
        self._journal.append(command, idx, term)
        self._membership.appended(command, idx, term)

    def deleteEntriesFrom(self, _position: int) -> None:  # noqa: N802 - the library's name
        """Do nothing: the library cuts before it compares; `add` compares before it cuts."""

    def __getitem__(self, position: int | slice) -> tuple[Any, ...] | list[tuple[Any, ...]]:
        found = self._journal.entries[position]
        return [astuple(entry) for entry in found] if isinstance(found, list) else astuple(found)

    def __len__(self) -> int:
        return len(self._journal.entries)

    def setRaftCommitIndex(self, _index: int) -> None:  # noqa: N802 - the library's name
        """Not stored: what the state machine has applied is committed, the rest a leader confirms."""

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802 - the library's name
        """Durable before any message can show it."""
        self._vote.save(term, voted_for)

    def _destroy(self) -> None:
        """Do nothing: the log closes its journal itself."""


class Engine(SyncObj):  # type: ignore[misc]
    """PySyncObj with our journal beneath and our hands around. No properties: its constructor reads them."""

    def __init__(self, node_id: str, timing: Timing, transport: Transport) -> None:
        self._driver: Driver | None = None
        conf = SyncObjConf(
            autoTick=False,
            raftMinTimeout=timing.election_min_s,
            raftMaxTimeout=timing.election_max_s,
            appendEntriesPeriod=timing.heartbeat_s,
            leaderFallbackTimeout=timing.quorum_loss_s,
            connectionTimeout=max(timing.link_timeout_s, timing.election_max_s),
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            logCompactionMinEntries=_NEVER,
            logCompactionMinTime=_NEVER,
            useFork=False,
            onStateChanged=self._on_state_changed,
        )
        super().__init__(RaftNode(node_id), [], conf, transport=transport, nodeClass=RaftNode)
        self._poller = _NoPoller()

    def adopt(self, driver: Driver, storage: Storage) -> None:
        """Take over what is on disk."""
        self._driver = driver
        self._journal = journal = storage.journal
        vote = storage.vote
        self._SyncObj__raftLog = LibraryJournal(journal, vote, storage.membership, self.commit_index)
        self._SyncObj__raftCurrentTerm = max(vote.term, journal.last_term)
        self._SyncObj__votedForNodeId = vote.voted_for if vote.term >= journal.last_term else None
        self.jump_to(storage.applied)

    def tick(self) -> None:
        """Elect, count, step down, apply, replicate: the library's turn, without waiting."""
        self.doTick(0.0)

    # -- what the library knows ---------------------------------------------------------------------------

    def role(self) -> Role:
        """Return what this node is now."""
        return _ROLES[self._SyncObj__raftState]

    def term(self) -> int:
        """Return the current term."""
        return int(self._SyncObj__raftCurrentTerm)

    def leader_id(self) -> str | None:
        """Return the leader as last heard of; possibly out of date."""
        leader = self._SyncObj__raftLeader
        return None if leader is None else str(leader.id)

    def commit_index(self) -> int:
        """Return the highest index known to be committed."""
        return int(self._SyncObj__raftCommitIndex)

    def applied_index(self) -> int:
        """Return how far the library allows the state machine to be."""
        return int(self._SyncObj__raftLastApplied)

    def is_voter(self, peer: str) -> bool:
        """Tell whether a peer elects and counts, by the list in force."""
        return RaftNode(peer) in self._SyncObj__otherNodes

    def match_index(self) -> dict[str, int]:
        """Return, on a leader, how far each peer's log is known to equal ours."""
        return {node.id: index for node, index in self._SyncObj__raftMatchIndex.items()}

    # -- what we tell it ----------------------------------------------------------------------------------

    def forget_match(self, peer: str) -> None:
        """Count nothing of a peer's log until it acknowledges anew. Counting less is always safe."""
        if RaftNode(peer) in self._SyncObj__otherNodes:
            self._SyncObj__raftMatchIndex[RaftNode(peer)] = 0

    def jump_to(self, index: int) -> None:
        """The state machine stands at `index`, by restart or snapshot: it is committed and applied."""
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(index, self.commit_index())

    def append(self, command: bytes) -> None:
        """Append one entry, tag and all, in the current term. Leaders only."""
        self._SyncObj__raftLog.add(command, self._journal.last_index + 1, self.term())

    def set_voters(self, peers: Collection[str]) -> None:
        """Count these beside ourselves from now on (Raft §6); who is new has to acknowledge everything anew."""
        voters, known = {RaftNode(peer) for peer in peers}, self._SyncObj__otherNodes
        for gone in known - voters:
            for table in (
                self._SyncObj__raftNextIndex,
                self._SyncObj__raftMatchIndex,
                self._SyncObj__lastResponseTime,
            ):
                table.pop(gone, None)
        for new in voters - known:
            self._SyncObj__raftNextIndex[new] = self._journal.last_index + 1
            self._SyncObj__raftMatchIndex[new] = 0
            self._SyncObj__lastResponseTime[new] = syncobj.monotonicTime()
        self._SyncObj__otherNodes: set[RaftNode] = voters

    def election_due(self) -> bool:
        """Tell whether the election timer has run out. A leader's stands still and means nothing."""
        return self._SyncObj__raftState != _LEADER and bool(
            self._SyncObj__raftElectionDeadline < syncobj.monotonicTime()
        )

    def hasten_election(self) -> None:
        """Let the next tick stand for election."""
        self._SyncObj__raftElectionDeadline = float("-inf")

    def postpone_election(self, share: float) -> None:
        """Restart the election timer with a `share` of its usual length."""
        timeout_s = self._SyncObj__generateRaftTimeout() * share
        self._SyncObj__raftElectionDeadline = syncobj.monotonicTime() + timeout_s

    def transfer_pending(self) -> bool:
        """Tell whether the leader asked this node to take over."""
        return bool(self._SyncObj__transferInProgress)

    def adopt_term(self, term: int) -> None:
        """Follow nobody in a newer term (Raft §5.1, rules for all servers)."""
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = None

    # -- seams --------------------------------------------------------------------------------------------

    def _on_state_changed(self, _old: int, new: int) -> None:
        if new == _LEADER and self._driver is not None:
            self._driver.became_leader()

    def _checkCommandsToApply(self) -> None:  # noqa: N802 - the library's name
        """Replace the library's queue: one append and one round of messages for all that waits."""
        if self._driver is not None:
            self._driver.append_proposals()
            if self._SyncObj__raftState == _LEADER:
                self._driver.replicate(heartbeat=False)

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802 - the library's name
        """Replace the library's sender; only its heartbeat timer remains."""
        self._SyncObj__newAppendEntriesTime = syncobj.monotonicTime() + self._SyncObj__conf.appendEntriesPeriod
        if self._driver is not None:
            self._driver.replicate(heartbeat=True)

    def _SyncObj__doApplyCommand(self, _command: bytes) -> None:  # noqa: N802 - the library's name
        """Run nothing: `poll` returns the entry and its caller applies it."""


def engage(clock: Callable[[], float], random: Random) -> None:
    """Give the library time and chance. Called before every entry into it: they are module globals."""
    syncobj.monotonicTime = clock
    syncobj.random = random


def _is_real(record: logging.LogRecord) -> bool:
    return "truncating already-applied" not in str(record.msg)


logging.getLogger(syncobj.__name__).addFilter(_is_real)  # it warns of a truncation that LibraryJournal prevents
