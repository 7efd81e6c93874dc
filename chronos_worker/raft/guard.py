"""Between the library and the wire: the rules of Raft that PySyncObj does not keep.

`Guard` is the library's transport on one side and the network's receiver on the other. Each rule stands at the
message it concerns; `DESIGN.md` tells which hole it closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pysyncobj.transport import Transport

from chronos_worker.raft.engine import RaftNode
from chronos_worker.raft.messages import (
    Appended,
    AppendEntries,
    Forward,
    Message,
    PreVote,
    PreVoteAnswer,
    Refused,
    RequestVote,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotWanted,
    StaleTerm,
    TimeoutNow,
    VoteGranted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from chronos_worker.raft.election import Elections
    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.network import Network
    from chronos_worker.raft.replication import Replicator


class Aside(Protocol):
    """Who takes what is not the library's business. Messages come from members, about the current term."""

    def forwarded(self, entries: list[bytes]) -> None:
        """A follower proposes entries."""

    def entries_received(self) -> None:
        """What a leader sent is in the journal; it may hold a list of members."""

    def leader_contact(self, commit_index: int) -> None:
        """A leader told how far it has committed."""

    def snapshot_message(self, peer: str, message: SnapshotOffer | SnapshotWanted | SnapshotChunk) -> None:
        """Part of a snapshot transfer."""


class Guard(Transport):  # type: ignore[misc]
    """Edits, holds back and drops messages."""

    def __init__(self, network: Network) -> None:
        super().__init__(None, None, None)
        self._network = network
        self._held: tuple[int, str, int] | None = None
        self._verified = (0, 0)
        self._answering_prev = 0
        self._in: dict[type[Any], Callable[[str, Any], None]] = {
            AppendEntries: self._in_append,
            Appended: self._in_appended,
            Refused: self._in_refused,
            RequestVote: self._in_request_vote,
            VoteGranted: self._in_vote,
            PreVote: self._in_pre_vote,
            PreVoteAnswer: self._in_pre_vote_answer,
            StaleTerm: self._in_stale_term,
            TimeoutNow: self._in_timeout_now,
            Forward: self._in_forward,
            SnapshotOffer: self._in_snapshot,
            SnapshotWanted: self._in_snapshot,
            SnapshotChunk: self._in_snapshot,
        }
        self._out: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "request_vote": self._out_request_vote,
            "response_vote": self._out_vote,
            "next_node_idx": self._out_answer,
        }

    def adopt(
        self, engine: Engine, journal: Journal, elections: Elections, replicator: Replicator, aside: Aside
    ) -> None:
        """Name those it works with, once, before the first message."""
        self._engine = engine
        self._journal = journal
        self._elections = elections
        self._replicator = replicator
        self._aside = aside

    def release(self) -> None:
        """After the sync: acknowledge what was received. Only the newest index, only in its own term."""
        if self._held is None:
            return
        (term, leader, index), self._held = self._held, None
        if term == self._engine.term():
            self._network.send(leader, Appended(term, index, self._elections.is_joined))

    def vouch(self, leader: str, index: int) -> None:
        """Acknowledge, at the next `release`, what a snapshot of the leader covers."""
        self._hold(leader, index)

    # -- the library sends --------------------------------------------------------------------------------

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        """Take a message from the library."""
        self._out[message["type"]](str(node.id), message)
        return True

    def _out_request_vote(self, peer: str, message: dict[str, Any]) -> None:
        self._journal.sync()  # it names our last entry
        elections = self._elections
        self._network.send(
            peer,
            RequestVote(
                message["term"],
                message["last_log_index"],
                message["last_log_term"],
                elections.is_transfer,
                elections.unanimous_round,
            ),
        )

    def _out_vote(self, peer: str, message: dict[str, Any]) -> None:
        self._journal.sync()  # the vote was judged by our last entry
        self._network.send(peer, VoteGranted(message["term"]))

    def _out_answer(self, peer: str, message: dict[str, Any]) -> None:
        """Hold an acknowledgement until the sync; send a refusal with the end of what is verified."""
        if message["success"]:
            self._hold(peer, message["next_node_idx"] - 1)
            return
        term, index = self._verified
        verified = index if term == self._engine.term() else 0
        next_index = max(verified, self._engine.commit_index()) + 1
        self._network.send(peer, Refused(self._engine.term(), self._answering_prev, next_index))

    def _hold(self, leader: str, index: int) -> None:
        term = self._engine.term()
        if self._held is not None and self._held[:2] == (term, leader):
            index = max(index, self._held[2])
        self._held = (term, leader, index)
        self._verified = max(self._verified, (term, index))

    # -- the network delivers (`Receiver`) ----------------------------------------------------------------

    def on_connected(self, peer: str) -> None:
        """A link is up."""
        self._elections.parted(peer)
        self._replicator.connected(peer)
        self._onNodeConnected(RaftNode(peer))

    def on_disconnected(self, peer: str) -> None:
        """A link is gone."""
        if peer == self._engine.leader_id():
            self._elections.leader_lost()
        self._elections.parted(peer)
        self._replicator.disconnected(peer)
        self._engine.forget_match(peer)  # the next life of the peer may have lost what this one acknowledged
        self._onNodeDisconnected(RaftNode(peer))

    def on_message(self, peer: str, message: Message) -> None:
        """Take a message from a member."""
        self._in[type(message)](peer, message)

    def _in_append(self, peer: str, message: AppendEntries) -> None:
        if message.term < self._engine.term():
            # The library would be silent; then a leader that missed a term would never learn of it.
            self._network.send(peer, StaleTerm(self._engine.term()))
            return
        prev_index, prev_term = message.prev_index, message.prev_term
        last = prev_index + len(message.entries)
        entries: list[tuple[bytes, int, int]] = []
        for index, (term, command) in enumerate(message.entries, prev_index + 1):
            if not entries and self._journal.term_at(index) == term:
                prev_index, prev_term = index, term  # here already: never touched again
            else:
                entries.append((command, index, term))
        self._answering_prev = message.prev_index
        self._deliver(
            peer,
            "append_entries",
            term=message.term,
            # Nothing after `last` was compared with the leader's log by this message.
            commit_index=min(message.commit_index, last),
            prevLogIdx=prev_index,
            prevLogTerm=prev_term,
            entries=entries,
        )
        self._aside.entries_received()
        self._elections.leader_heard()
        self._aside.leader_contact(message.commit_index)

    def _in_appended(self, peer: str, message: Appended) -> None:
        if self._leads(message.term) and message.index <= self._journal.last_index:
            self._replicator.appended(peer, message.index, joined=message.joined)
            # Nobody else counts for a commit, nor keeps us in office: it may take a unanimous round to go on.
            if self._engine.is_voter(peer) and self._replicator.counts(peer):
                self._deliver(peer, "next_node_idx", next_node_idx=message.index + 1, reset=False, success=True)

    def _in_refused(self, peer: str, message: Refused) -> None:
        if self._leads(message.term):
            self._replicator.refused(peer, message.prev_index, message.next_index)
            self.note_alive(peer)

    def note_alive(self, peer: str) -> None:
        """Feed the leader's quorum clock without claiming anything about the peer's log."""
        if self._engine.is_voter(peer):
            self._deliver(peer, "next_node_idx", next_node_idx=1, reset=False, success=False)

    def _in_request_vote(self, peer: str, message: RequestVote) -> None:
        if self._elections.may_vote(peer, message):
            self._deliver(
                peer,
                "request_vote",
                term=message.term,
                last_log_index=message.last_index,
                last_log_term=message.last_term,
            )

    def _in_vote(self, peer: str, message: VoteGranted) -> None:
        counts = self._engine.is_voter(peer) and message.term == self._engine.term()
        if counts and self._elections.is_first_vote(peer, message.term):
            self._deliver(peer, "response_vote", term=message.term)

    def _in_pre_vote(self, peer: str, message: PreVote) -> None:
        self._elections.answer(peer, message)

    def _in_pre_vote_answer(self, peer: str, message: PreVoteAnswer) -> None:
        self._elections.take_answer(peer, message)

    def _in_stale_term(self, _peer: str, message: StaleTerm) -> None:
        if message.term > self._engine.term():
            self._engine.adopt_term(message.term)

    def _in_timeout_now(self, peer: str, message: TimeoutNow) -> None:
        self._deliver(peer, "timeout_now", term=message.term)

    def _in_forward(self, _peer: str, message: Forward) -> None:
        self._aside.forwarded(message.entries)

    def _in_snapshot(self, peer: str, message: SnapshotOffer | SnapshotWanted | SnapshotChunk) -> None:
        if message.term == self._engine.term():
            self._aside.snapshot_message(peer, message)

    def _leads(self, term: int) -> bool:
        return self._engine.role() == "leader" and term == self._engine.term()

    def _deliver(self, peer: str, kind: str, **fields: Any) -> None:
        self._onMessageReceived(RaftNode(peer), {"type": kind, **fields})
