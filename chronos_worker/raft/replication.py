"""The sending side of replication: what each follower gets next.

It replaces the library's sender, which forgets what it sent, moves backwards on every success and spins while
a snapshot is wanted. A follower is in one of three modes, as in etcd:

    probe     one message at a time until an answer shows where its log equals ours
    stream    messages in advance, bounded by the bytes that no answer has covered yet
    snapshot  it needs entries we no longer keep; only heartbeats until the snapshot is installed

And it is *trusted* or not. A follower without memory may have forgotten that it follows a later leader, one that we
missed while we slept. So it counts for nothing, and is not told what is committed, until we have committed without it
an entry that is younger than our first word with it: no later leader had a majority before, and from now on it
remembers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from chronos_worker.raft.messages import AppendEntries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chronos_worker.raft.config import Limits
    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.network import Network

_MAX_ENTRIES: Final = 1024
_MAX_MESSAGES: Final = 256


@dataclass(slots=True)
class Progress:
    """What we believe of one follower."""

    next_index: int
    match: int = 0
    joined: bool | None = None
    """Whether its memory is whole, as it says in its present life; None if it has not said so yet."""
    trusted: bool = False
    """Whether it has forgotten no promise to a later leader, even if its memory is not whole."""
    met_at: int | None = None
    """Our last index when it first answered, in its present life and this term."""
    mode: Literal["probe", "stream", "snapshot"] = "probe"
    is_waiting: bool = False
    told_commit: int = 0
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    in_flight_bytes: int = 0

    @property
    def counts(self) -> bool:
        """Whether its acknowledgements count for a commit."""
        return self.joined is True or self.trusted

    def met(self, last_index: int) -> None:
        """It answered."""
        if self.met_at is None:
            self.met_at = last_index

    def parted(self) -> None:
        """The link broke or is new: what comes next may be the word of another life."""
        self.match, self.joined, self.trusted, self.met_at = 0, None, False, None

    def probe(self, next_index: int) -> None:
        """Find out again where the logs meet, from `next_index` downwards."""
        self.mode, self.next_index, self.is_waiting = "probe", next_index, False
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def sent(self, last_index: int, size: int) -> None:
        """Note entries on their way."""
        self.in_flight.append((last_index, size))
        self.in_flight_bytes += size

    def arrived(self, index: int) -> None:
        """Forget what an answer covers."""
        while self.in_flight and self.in_flight[0][0] <= index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]


class Replicator:
    """Sends `AppendEntries` while this node leads."""

    def __init__(self, engine: Engine, journal: Journal, network: Network, limits: Limits) -> None:
        self._peers: list[str] = []
        self._engine = engine
        self._journal = journal
        self._network = network
        self._limits = limits
        self._progress: dict[str, Progress] = {}

    def follow(self, peers: Iterable[str]) -> None:
        """Serve these from now on."""
        self._peers = sorted(peers)
        following = self._journal.last_index + 1
        self._progress = {peer: self._progress.get(peer) or Progress(following) for peer in self._peers}

    def is_joined(self, peer: str) -> bool:
        """Tell whether a follower says, in its present life, that its memory is whole."""
        return self._progress[peer].joined is True

    def has(self, peer: str, index: int) -> bool:
        """Tell whether a follower's log is known, in its present life, to equal ours up to `index`."""
        return self._progress[peer].match >= index

    def counts(self, peer: str) -> bool:
        """Tell whether a follower's acknowledgements count for a commit."""
        progress = self._progress.get(peer)
        return progress is not None and progress.counts

    def lead(self, allies: Collection[str]) -> None:
        """Begin a term knowing nothing of anybody (Raft §5.3), but that `allies` know no later one."""
        following = self._journal.last_index + 1
        self._progress = {peer: Progress(following, trusted=peer in allies) for peer in self._peers}

    def trust(self) -> None:
        """Trust whom the latest commit allows to."""
        for progress in self._progress.values():
            if progress.met_at is not None and not progress.counts:
                progress.trusted = self._engine.commit_index() > progress.met_at

    def wants_proof(self) -> bool:
        """Tell whether somebody without memory waits for an entry to be committed, and none is under way."""
        last = self._journal.last_index
        return any(
            progress.joined is False and not progress.trusted and progress.met_at == last
            for progress in self._progress.values()
        )

    def behind(self) -> list[str]:
        """Return the connected followers that need a snapshot."""
        return [
            peer
            for peer, progress in self._progress.items()
            if progress.mode == "snapshot" and self._network.is_connected(peer)
        ]

    def replicate(self, *, heartbeat: bool) -> None:
        """Send to everybody what they lack and may be sent; with `heartbeat` at least an empty message."""
        for peer, progress in self._progress.items():
            if self._network.is_connected(peer):
                self._serve(peer, progress, heartbeat=heartbeat)

    def appended(self, peer: str, index: int, *, joined: bool) -> None:
        """A follower holds everything up to `index`, durably."""
        progress = self._progress.get(peer)
        if progress is None:
            return
        progress.match, progress.joined = max(progress.match, index), joined
        progress.met(self._journal.last_index)
        progress.arrived(index)
        if progress.mode == "snapshot" and index < self._journal.base_index:
            return
        if progress.mode != "stream":
            progress.probe(index + 1)
            progress.mode = "stream"
        progress.next_index = max(progress.next_index, index + 1)

    def refused(self, peer: str, prev_index: int, next_index: int) -> None:
        """A follower lacks `prev_index` or has another entry there; it asks for `next_index`.

        Its wish is the end of what it has verified, so one step suffices. Older refusals are ignored.
        """
        progress = self._progress.get(peer)
        if progress is None:
            return
        progress.met(self._journal.last_index)
        if progress.mode == "snapshot":
            if next_index > self._journal.base_index:
                progress.probe(next_index)
        elif progress.mode == "stream" or prev_index == progress.next_index - 1:
            progress.probe(min(next_index, self._journal.last_index + 1))

    def connected(self, peer: str) -> None:
        """What was said before may have been another life's."""
        if (progress := self._progress.get(peer)) is not None:
            progress.parted()

    def disconnected(self, peer: str) -> None:
        """What was on its way may be lost."""
        progress = self._progress.get(peer)
        if progress is None:
            return
        if progress.mode != "snapshot":
            progress.probe(progress.match + 1)
        progress.parted()

    def _serve(self, peer: str, progress: Progress, *, heartbeat: bool) -> None:
        if progress.mode != "snapshot" and progress.next_index <= self._journal.base_index:
            progress.mode = "snapshot"
        if progress.mode == "snapshot":
            if heartbeat:
                self._send(peer, progress, self._journal.last_index, [])
            return
        told = False
        while self._may_send(progress):
            entries = self._batch(progress.next_index)
            self._send(peer, progress, progress.next_index - 1, entries)
            told = True
            if progress.mode == "probe":
                progress.is_waiting = True
            else:
                progress.next_index += len(entries)
        news = progress.mode == "stream" and progress.told_commit < self._commit_for(progress)
        if not told and (heartbeat or news):
            self._send(peer, progress, progress.next_index - 1, [])

    def _commit_for(self, progress: Progress) -> int:
        """What a follower is told to be committed: nothing, while it might take us for a leader that we are not."""
        return self._engine.commit_index() if progress.counts else 0

    def _may_send(self, progress: Progress) -> bool:
        if progress.mode == "probe":
            return not progress.is_waiting
        return (
            progress.next_index <= self._journal.last_index
            and progress.in_flight_bytes < self._limits.window_bytes
            and len(progress.in_flight) < _MAX_MESSAGES
        )

    def _batch(self, first: int) -> list[tuple[int, bytes]]:
        """Return (term, command) of entries from `first` on, at least one if there is any."""
        entries = self._journal.entries
        position = first - self._journal.base_index
        size = 0
        batch: list[tuple[int, bytes]] = []
        for entry in entries[position : position + _MAX_ENTRIES]:
            size += len(entry.command)
            if batch and size > self._limits.batch_bytes:
                break
            batch.append((entry.term, entry.command))
        return batch

    def _send(self, peer: str, progress: Progress, prev_index: int, entries: list[tuple[int, bytes]]) -> None:
        commit = self._commit_for(progress)
        term_before = self._journal.term_at(prev_index)
        assert term_before is not None  # noqa: S101 - callers stay at or above the base
        self._network.send(peer, AppendEntries(self._engine.term(), commit, prev_index, term_before, entries))
        progress.told_commit = commit
        if entries:
            progress.sent(prev_index + len(entries), sum(len(command) for _, command in entries))
