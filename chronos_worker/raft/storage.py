"""The data directory of the log: lock, vote, journal and members opened together and checked against one another."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from chronos_worker.raft.errors import DataDirectoryBusy, DiskFailed, JournalCorrupt
from chronos_worker.raft.files import replace_durably
from chronos_worker.raft.journal import GENESIS, Journal
from chronos_worker.raft.membership import Membership, founding
from chronos_worker.raft.vote import VoteFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chronos_worker.raft.config import LogConfig
    from chronos_worker.raft.files import Files
    from chronos_worker.raft.membership import Agreed

_MARKER: Final = struct.Struct("<QQ")


class Storage:
    """Everything durable that belongs to the log."""

    def __init__(self, files: Files, config: LogConfig, applied: int) -> None:
        self.files = files
        self._marker = config.data_dir / "install"
        self._limits = config.limits
        self.directory = config.data_dir
        self.applied = max(applied, GENESIS[0])
        try:
            files.make_directory(config.data_dir)
            self._lock = files.lock(config.data_dir / "lock")
        except BlockingIOError as error:
            raise DataDirectoryBusy(f"{config.data_dir} is in use by another process") from error
        except OSError as error:
            raise DiskFailed(f"{config.data_dir}: {error}") from error
        try:
            self.journal = Journal(files, config.data_dir, config.limits.journal_piece_bytes)
            self.vote = self._open_vote(files, config)
            self._finish_install()
            self._check()
            self.membership = Membership(files, config.data_dir, self.journal, founding(config.members))
        except BaseException:
            self._lock.close()
            raise

    def install(
        self, file: Path, index: int, term: int, members: Agreed, install: Callable[[Path, int, int], None]
    ) -> None:
        """Replace the state machine by a snapshot and begin the journal after it.

        A marker on disk tells the next life, should this one end in between, that the journal has to follow.
        The members come first: they are committed whatever becomes of the copy. What `install` raises leaves
        everything else as it was.
        """
        try:
            replace_durably(self.files, self._marker, _MARKER.pack(index, term))
        except OSError as error:
            raise DiskFailed(f"{self._marker}: {error}") from error
        self.membership.install(members)
        install(file, index, term)
        self.journal.reset(index, term)
        self.membership.follow(self.journal)
        self.files.remove(self._marker)

    def compact(self, durable_index: int) -> None:
        """Drop entries up to `durable_index`, except a trailing reserve for followers that lag a little.

        The file is rewritten only when at least as much goes as stays, so the cost per entry is constant.
        """
        journal, limits = self.journal, self._limits
        base = min(durable_index, journal.last_index - limits.trailing_entries)
        while base < durable_index and journal.bytes_after(base) > limits.trailing_bytes:
            base += 1
        kept = journal.bytes_after(base)
        if base > journal.base_index and journal.bytes_after(journal.base_index) >= 2 * kept:
            self.membership.keep(base)
            journal.compact(base)

    def join(self) -> None:
        """Remember that this node has been up to date once."""
        try:
            self.vote.join()
        except OSError as error:
            raise DiskFailed(f"{self.directory / 'vote'}: {error}") from error

    def close(self) -> None:
        """Sync and close."""
        try:
            self.journal.close()
        finally:
            self._lock.close()

    def _finish_install(self) -> None:
        """Let the journal follow a state machine that was replaced just before the process ended."""
        if not self.files.exists(self._marker):
            return
        raw = self._marker.read_bytes()
        if len(raw) == _MARKER.size:
            index, term = _MARKER.unpack(raw)
            if self.applied >= index > self.journal.base_index and self.journal.term_at(index) != term:
                self.journal.reset(index, term)
        self.files.remove(self._marker)

    def _open_vote(self, files: Files, config: LogConfig) -> VoteFile:
        """Open `vote` beside the journal. The journal is always created first."""
        try:
            vote = VoteFile(files, config.data_dir, config.node_id)
            if vote.is_new and self.journal.last_index == GENESIS[0]:
                vote.save(0, None)
        except OSError as error:
            raise DiskFailed(f"{config.data_dir / 'vote'}: {error}") from error
        if vote.is_new:
            raise JournalCorrupt(f"{config.data_dir}: the journal has entries but the vote file is missing")
        return vote

    def _check(self) -> None:
        """Compare journal and state machine; they must meet."""
        journal = self.journal
        if self.journal.is_new and self.vote.term > 0:
            raise JournalCorrupt(
                f"{self.directory}: the vote file is of term {self.vote.term} but the journal is missing"
            )
        if self.applied > journal.last_index:
            raise JournalCorrupt(
                f"{self.directory}: the state machine has applied entry {self.applied} but "
                f"the journal ends at {journal.last_index}; it was lost or belongs to another node"
            )
        if self.applied < journal.base_index:
            raise JournalCorrupt(
                f"{self.directory}: the journal begins after entry {journal.base_index} but the "
                f"state machine has applied only {self.applied}; it was replaced by an older one"
            )
