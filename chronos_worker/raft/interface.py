"""What the rest of the worker sees of the log, and what the log needs from the store."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_ENTRY_BYTES: Final = 256 * 1024
"""Largest entry `propose` takes, in bytes."""

CONTACT_S: Final = 3.0
"""A member heard from within this counts as there."""

Role = Literal["leader", "follower", "candidate"]


class Committed(NamedTuple):
    """One committed entry. `data` is empty for the entry with which a leader opens its term."""

    index: int  # type: ignore[assignment]  # the field's own word; nobody calls tuple.index here
    term: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A finished copy of the state machine: everything up to and including `index` is in it."""

    path: Path
    index: int
    term: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LogStatus:
    """A view of the log at one moment, from this node.

    `members` maps node ids to addresses, as the list in force says; `voters` are those of them that elect and
    count. `members_index` is the entry that list stands in: it is final once that is committed. `cluster_id`
    is empty until there has been a leader. `peers_contact` is seconds since the last authenticated message of
    each member, or infinity if there was none. `match_index` is filled on the leader only. `rejected` counts
    refused input by reason, `problems` says in words why a peer is refused right now. `is_caught_up` turns true
    once, when `poll` has returned everything that was committed when a leader first said how far that is.
    """

    node_id: str
    role: Role
    leader_id: str | None
    term: int
    commit_index: int
    returned_index: int
    first_index: int
    last_index: int
    journal_bytes: int
    is_caught_up: bool
    members: Mapping[str, str]
    voters: frozenset[str]
    members_index: int
    cluster_id: str
    peers_contact: dict[str, float] = field(default_factory=dict)
    match_index: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def has_quorum(self) -> bool:
        """Whether the leader was heard of late, and, on the leader, whether a majority was."""
        if self.role != "leader":
            return self.peers_contact.get(self.leader_id or "", math.inf) < CONTACT_S
        near = sum(self.peers_contact.get(voter, 0.0) < CONTACT_S for voter in self.voters)
        return near > len(self.voters) // 2

    @property
    def is_member(self) -> bool:
        """Whether this node belongs to the cluster, as far as it knows."""
        return self.node_id in self.members


class ReplicatedLog(Protocol):
    """An ordered log that survives the loss of a minority of the members.

    All calls except `wake` belong to one thread. Every call may raise `FatalLogError`; then the process
    has to stop.
    """

    def propose(self, data: bytes) -> None:
        """Hand one entry to the log, by way of the leader. No answer: watch what `poll` returns.

        Raises:
            NoLeader: no leader is known or reachable; nothing was appended.
            QueueFull: a bound on waiting entries was reached; nothing was appended.
            EntryTooLarge: `data` is longer than MAX_ENTRY_BYTES or empty.
        """

    def poll(self, timeout_s: float) -> list[Committed]:
        """Run one turn and return what became committed, in order, each index exactly once.

        Waits at most `timeout_s` seconds for traffic, timers or `wake`. The first entry ever returned
        follows the index the state machine had durably applied when the log was opened. An entry is
        returned only after its journal record was synced here. Entries with empty data carry nothing to
        apply but advance the applied index.
        """

    def wake(self) -> None:
        """End a waiting `poll` early. Safe from any thread and from signal handlers."""

    def status(self) -> LogStatus:
        """Return how this node sees the cluster."""

    def compact(self, durable_index: int) -> None:
        """Allow the log to drop entries up to `durable_index`, which the state machine has on disk."""

    def transfer_leadership(self, to: str | None) -> None:
        """Ask `to` (None: the most advanced peer) to take over; give up after one election timeout."""

    def add_member(self, node_id: str, address: str) -> None:
        """Let a node in, or tell its new address. It votes as soon as it has caught up. On the leader only.

        The change is final when `status().members_index` is committed.

        Raises:
            NoLeader: this node does not lead.
            ChangePending: an earlier change, or the leadership, is not settled yet.
            ChangeRefused: saying why, and what would be accepted.
        """

    def remove_member(self, node_id: str) -> None:
        """Take a node off the list. A leader hands over before it is removed. On the leader only.

        Raises:
            NoLeader: this node does not lead, or is just handing over.
            ChangePending: an earlier change, or the leadership, is not settled yet.
            ChangeRefused: saying why, and what would be accepted.
        """

    def close(self) -> None:
        """Sync, close files and links. Calling it again does nothing."""


class StateMachineSnapshots(Protocol):
    """What the log asks of the state machine. Implemented by the store."""

    def applied(self) -> tuple[int, int]:
        """Return (index, term) of the last entry that is durably applied; (0, 0) when empty."""

    def save(self, directory: Path) -> SnapshotFile:
        """Write a consistent copy into `directory`. Called on a background thread."""

    def install(self, file: Path, index: int, term: int) -> None:
        """Replace the state machine by `file`, atomically and durably. Called inside `poll`.

        The file may be moved. When it raises, the old state must still be in place.
        """
