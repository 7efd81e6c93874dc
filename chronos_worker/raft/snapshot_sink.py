"""The follower's side of snapshots: pull, verify in the background, install.

What has arrived survives a restart; bytes the disk forgot meanwhile show in the checksum. Until the checksum of
the whole file is right nothing of it is used, and until it is installed nothing is acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from chronos_worker.raft.checked import with_checksum, without_checksum
from chronos_worker.raft.files import replace_durably, write_all
from chronos_worker.raft.messages import SnapshotChunk, SnapshotOffer, SnapshotWanted
from chronos_worker.raft.snapshot_source import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.files import File, Files
    from chronos_worker.raft.network import Network

_BACK_OFF_S: Final = 5.0

_log = structlog.get_logger("chronos.raft")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot being received, as kept beside its bytes."""

    index: int
    term: int
    size: int
    sha256: str
    members: bytes


class SnapshotSink:
    """Receives one snapshot at a time."""

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        network: Network,
        files: Files,
        background: Executor,
        clock: Callable[[], float],
        vouch: Callable[[int], None],
    ) -> None:
        self._path = directory / "incoming"
        self._wanted_path = directory / "incoming.wanted"
        self._engine = engine
        self._network = network
        self._files = files
        self._background = background
        self._clock = clock
        self._vouch = vouch
        self._wanted: Wanted | None = None
        self._file: File | None = None
        self._offset = 0
        self._job: Future[str] | None = None
        self._not_before = clock()
        self._resume()

    def offered(self, leader: str, offer: SnapshotOffer) -> None:
        """The leader no longer keeps the entries we lack."""
        if self._job is not None or self._clock() < self._not_before:
            return
        if offer.index <= self._engine.commit_index():
            self._vouch(offer.index)  # all of it is committed here already
            return
        wanted = Wanted(
            index=offer.index, term=offer.index_term, size=offer.size, sha256=offer.sha256, members=offer.members
        )
        if wanted != self._wanted and not self._begin(wanted):
            return
        if self._offset == wanted.size:
            self._finish()
        else:
            self._ask(leader, is_start=True)

    def chunk(self, leader: str, chunk: SnapshotChunk) -> None:
        """Write what comes next; anything else is left over from another attempt."""
        wanted = self._wanted
        if wanted is None or self._file is None or self._job is not None:
            return
        if chunk.sha256 != wanted.sha256 or chunk.offset != self._offset:
            return
        if not chunk.data or self._offset + len(chunk.data) > wanted.size:
            return
        try:
            write_all(self._file, self._offset, chunk.data)
        except OSError as error:
            self.give_up(f"cannot write {self._path}: {error}")
            return
        self._offset += len(chunk.data)
        if self._offset == wanted.size:
            self._finish()
        else:
            self._ask(leader, is_start=False)

    def received(self) -> tuple[Path, Wanted] | None:
        """Return a complete and verified snapshot, once; then `done` or `give_up` has to follow."""
        if self._job is None or not self._job.done():
            return None
        job, self._job = self._job, None
        wanted = self._wanted
        assert wanted is not None  # noqa: S101 - a job runs for a wanted snapshot only
        error = job.exception()
        if error is not None:
            self.give_up(f"cannot read {self._path}: {error}")
        elif job.result() != wanted.sha256:
            self.give_up(f"the checksum of the snapshot at index {wanted.index} is wrong")
        else:
            self._close()
            return self._path, wanted
        return None

    def done(self) -> None:
        """The snapshot is installed or no longer needed."""
        self._close()
        self._wanted, self._offset = None, 0
        self._files.remove(self._wanted_path)
        self._files.remove(self._path)

    def give_up(self, reason: str) -> None:
        """Forget what arrived and take no offer for a while."""
        _log.error("raft_snapshot_not_installed", reason=reason)
        self._not_before = self._clock() + _BACK_OFF_S
        self.done()

    def close(self) -> None:
        """Close the file; what arrived stays for the next life."""
        self._close()

    # -- the file -----------------------------------------------------------------------------------------

    def _begin(self, wanted: Wanted) -> bool:
        try:
            self.done()
            replace_durably(self._files, self._wanted_path, with_checksum(msgspec.msgpack.encode(wanted)))
            self._file = self._files.open(self._path)
        except OSError as error:
            self.give_up(f"cannot create {self._path}: {error}")
            return False
        self._wanted = wanted
        _log.info("raft_snapshot_begun", index=wanted.index, bytes=wanted.size)
        return True

    def _resume(self) -> None:
        """Go on with what an earlier life received."""
        if not self._files.exists(self._wanted_path):
            return
        content = without_checksum(self._wanted_path.read_bytes())
        if content is None or not self._files.exists(self._path):
            self.done()
            return
        self._wanted = msgspec.msgpack.decode(content, type=Wanted)
        self._file = self._files.open(self._path)
        self._offset = min(self._file.size(), self._wanted.size)

    def _ask(self, leader: str, *, is_start: bool) -> None:
        assert self._wanted is not None  # noqa: S101 - callers have begun
        self._network.send(leader, SnapshotWanted(self._engine.term(), self._wanted.sha256, self._offset, is_start))

    def _finish(self) -> None:
        assert self._file is not None  # noqa: S101 - callers have begun
        self._job = self._background.submit(self._check, self._file)
        self._job.add_done_callback(lambda _: self._network.wake())

    def _check(self, file: File) -> str:
        """Background: make the bytes durable and return their digest."""
        file.sync()
        return sha256_of(self._files, self._path)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
