"""The leader's side of snapshots: one copy at a time, made in the background, read by whoever is behind.

A follower is offered the copy and pulls it: it says from which offset, the leader keeps a window of chunks in
front of that. A repeated offer restarts a transfer that stopped, at the follower's offset. The copy and its
description stay on disk, so a restarted leader offers the same one again.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from chronos_worker.raft.checked import with_checksum, without_checksum
from chronos_worker.raft.files import replace_durably
from chronos_worker.raft.interface import SnapshotFile
from chronos_worker.raft.membership import encode_agreed
from chronos_worker.raft.messages import SnapshotChunk, SnapshotOffer, SnapshotWanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from chronos_worker.raft.config import LogConfig
    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.files import File, Files
    from chronos_worker.raft.interface import StateMachineSnapshots
    from chronos_worker.raft.network import Network
    from chronos_worker.raft.storage import Storage

_STALL_S: Final = 1.0
"""A follower that asked for nothing this long is offered the copy again."""
_RETRY_S: Final = 5.0
_HASH_BYTES: Final = 1 << 20

_log = structlog.get_logger("chronos.raft")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy is, as kept beside it."""

    name: str
    index: int
    term: int
    size: int
    sha256: str


@dataclass(slots=True)
class _Transfer:
    heard_at: float
    sent: int = 0


class SnapshotSource:
    """Makes, keeps and sends copies while this node leads."""

    def __init__(
        self,
        config: LogConfig,
        snapshots: StateMachineSnapshots,
        engine: Engine,
        storage: Storage,
        network: Network,
        background: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._limits, self._timing = config.limits, config.timing
        self._directory = config.data_dir / "outgoing"
        self._snapshots = snapshots
        self._engine = engine
        self._journal = storage.journal
        self._membership = storage.membership
        self._network = network
        self._files = files = storage.files
        self._background = background
        self._clock = clock
        self._copy: SnapshotFile | None = None
        self._file: File | None = None
        self._job: Future[SnapshotFile | None] | None = None
        self._used_at = self._retry_at = clock()
        self._transfers: dict[str, _Transfer] = {}
        if files.exists(self._directory / "description"):
            self._start(self._verify)

    def pinned_index(self) -> int | None:
        """Return the index beyond which the journal must not be cut, for a copy somebody is reading."""
        if self._journal.size_bytes > self._limits.journal_bytes:
            return None
        if self._job is not None:
            return self._journal.base_index
        return None if self._copy is None else self._copy.index

    def step(self, behind: list[str]) -> None:
        """Serve the followers that are behind our log; without any, let the copy go after a while."""
        now = self._clock()
        self._collect(now)
        self._transfers = {peer: sent for peer, sent in self._transfers.items() if peer in behind}
        if not behind:
            if self._copy is not None and now - self._used_at > self._timing.snapshot_idle_s:
                self._discard()
            return
        if self._copy is not None and self._copy.index < self._journal.base_index:
            self._discard()
        if self._copy is None:
            if self._job is None and now >= self._retry_at:
                self._start(self._save)
            return
        for peer in behind:
            transfer = self._transfers.get(peer)
            if transfer is None or now - transfer.heard_at > _STALL_S:
                self._transfers[peer] = _Transfer(now)
                self._offer(peer, self._copy)

    def wanted(self, peer: str, message: SnapshotWanted) -> None:
        """A follower asks for what comes at its offset."""
        transfer, copy = self._transfers.get(peer), self._copy
        if transfer is None or copy is None or self._file is None or message.sha256 != copy.sha256:
            return
        transfer.heard_at = self._used_at = self._clock()
        if message.is_start:
            transfer.sent = message.offset
        end = min(copy.size, message.offset + self._limits.snapshot_window_bytes)
        while transfer.sent < end:
            data = self._file.read_at(transfer.sent, self._limits.snapshot_chunk_bytes)
            if not data:
                _log.warning("raft_snapshot_unreadable", path=str(copy.path), offset=transfer.sent)
                self._discard()
                return
            chunk = SnapshotChunk(self._engine.term(), copy.sha256, transfer.sent, data)
            if not self._network.send(peer, chunk):
                return
            transfer.sent += len(data)

    def close(self) -> None:
        """Close the copy; it stays on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- the copy -----------------------------------------------------------------------------------------

    def _offer(self, peer: str, copy: SnapshotFile) -> None:
        self._used_at = self._clock()
        members = encode_agreed(self._membership.at(copy.index))
        offer = SnapshotOffer(self._engine.term(), copy.index, copy.term, copy.size, copy.sha256, members)
        self._network.send(peer, offer)

    def _start(self, work: Callable[[], SnapshotFile | None]) -> None:
        self._job = self._background.submit(work)
        self._job.add_done_callback(lambda _: self._network.wake())

    def _collect(self, now: float) -> None:
        """Take over what the background made."""
        if self._job is None or not self._job.done():
            return
        job, self._job = self._job, None
        error = job.exception()
        if error is not None:
            _log.error("raft_snapshot_not_made", error=str(error))
            self._retry_at = now + _RETRY_S
            return
        self._copy = job.result()
        if self._copy is not None:
            self._file = self._files.open(self._copy.path)
            self._used_at = now
            _log.info("raft_snapshot_ready", index=self._copy.index, bytes=self._copy.size)

    def _save(self) -> SnapshotFile:
        """Background: have the state machine write a copy, and describe it."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._files.make_directory(self._directory)
        copy = self._snapshots.save(self._directory)
        description = Description(
            name=copy.path.name, index=copy.index, term=copy.term, size=copy.size, sha256=copy.sha256
        )
        replace_durably(
            self._files, self._directory / "description", with_checksum(msgspec.msgpack.encode(description))
        )
        return copy

    def _verify(self) -> SnapshotFile | None:
        """Background: return the copy of an earlier life if it is intact."""
        content = without_checksum((self._directory / "description").read_bytes())
        if content is None:
            return None
        found = msgspec.msgpack.decode(content, type=Description)
        path = self._directory / found.name
        if not self._files.exists(path) or sha256_of(self._files, path) != found.sha256:
            return None
        return SnapshotFile(path, found.index, found.term, found.size, found.sha256)

    def _discard(self) -> None:
        self.close()
        self._copy = None
        self._transfers.clear()
        shutil.rmtree(self._directory, ignore_errors=True)


def sha256_of(files: Files, path: Path) -> str:
    """Return the digest of a file."""
    digest, offset = hashlib.sha256(), 0
    file = files.open(path)
    try:
        while data := file.read_at(offset, _HASH_BYTES):
            digest.update(data)
            offset += len(data)
    finally:
        file.close()
    return digest.hexdigest()
