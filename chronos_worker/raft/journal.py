"""The durable log: an append-only file behind a list in memory.

What is promised, and how:
* Nothing counts before `sync`, one fdatasync for all that was appended since the last.
* A torn tail (bytes after the last sync) is cut at open. Damage in bytes that were once synced is refused:
  the records carry how far the file was durable when they were written, and `journal.mark` how far it is now.
* Dropping old entries writes a new file, syncs it, renames it over the old one and syncs the directory
  (`Rewriting`): piece by piece, while the old one goes on being appended to and decides what is durable.
* A failing disk is final. After an `OSError` the journal raises `DiskFailed` for ever: the kernel may have
  thrown away the dirty pages, so a later successful sync would mean nothing.

Entry `base` is the last one that is *not* in the file: (1, 0) in a new log, the snapshot's after compaction.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from chronos_worker.raft.errors import DiskFailed, JournalCorrupt, LogDiverged, WrongDataDirectory
from chronos_worker.raft.files import replace_durably, write_all
from chronos_worker.raft.records import (
    FORMAT,
    HEADER_BYTES,
    RECORD_OVERHEAD,
    newer_format,
    pack_header,
    pack_record,
    promised_beyond,
    read_header,
    read_record,
)
from chronos_worker.raft.rewriting import Rewriting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chronos_worker.raft.files import File, Files

GENESIS: Final = (1, 0)
"""Index and term of the imaginary entry every log begins after (the library's own convention)."""

NO_OP: Final = b"\x01"
"""The command of an entry without content; the library's tag for it."""

_MARK: Final = struct.Struct("<QQI")
_FREED_AT_ONCE: Final = 1_000
"""Entries, of those dropped. A hundred thousand at once took 22 ms, in which no fire left."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry in the library's own order: command (tag byte and payload), index, term.

    Unknown to the collector of cyclic garbage: a steady load keeps so many that looking through them took 24 ms.
    """

    command: bytes
    idx: int
    term: int


class Journal:
    """Entries after `base`, in memory and on disk. A compaction copies `piece_bytes` of what stays at a time."""

    def __init__(self, files: Files, directory: Path, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._files = files
        self._path = directory / "journal"
        self._mark_path = directory / "journal.mark"
        self._failed: DiskFailed | None = None
        self._rewriting: Rewriting | None = None
        self._entries: list[Entry] = []
        self._dropped: list[Entry] = []
        """What a compaction has left in memory, to be freed little by little."""
        self._ends: list[int] = []
        self._pending: list[bytes] = []
        self._dirty = False
        self._size = self._synced_size = self._synced_index = 0
        with self._fatal():
            self.is_new = not files.exists(self._path)
            files.remove(self._path.with_name("journal.new"))
            if self.is_new:
                replace_durably(files, self._path, pack_header(*GENESIS))
            self._file: File = files.open(self._path)
            self._mark: File = files.open(self._mark_path)
            self._load()

    # -- what is in it ------------------------------------------------------------------------------------

    @property
    def entries(self) -> list[Entry]:
        """All entries kept, the base first. Read only."""
        return self._entries

    @property
    def base_index(self) -> int:
        """Index of the entry before the first one kept."""
        return self._entries[0].idx

    @property
    def base_term(self) -> int:
        """Term of the entry before the first one kept."""
        return self._entries[0].term

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the base."""
        return self._entries[-1].idx

    @property
    def last_term(self) -> int:
        """Term of the last entry, or of the base."""
        return self._entries[-1].term

    @property
    def synced_index(self) -> int:
        """Index of the last entry that is durable."""
        return self._synced_index

    @property
    def dirty(self) -> bool:
        """Whether something waits for `sync`."""
        return self._dirty

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, including what waits for `sync`."""
        return self._size

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry (or of the base), None when it is not kept."""
        position = index - self.base_index
        return self._entries[position].term if 0 <= position < len(self._entries) else None

    def between(self, after: int, upto: int) -> list[Entry]:
        """Return the entries with `after` < index <= `upto`; `after` must be at or beyond the base."""
        return self._entries[after + 1 - self.base_index : upto + 1 - self.base_index]

    def bytes_after(self, index: int) -> int:
        """Return how many bytes of the file belong to entries after `index`."""
        position = max(index - self.base_index, 0)
        return self._size - self._ends[min(position, len(self._ends) - 1)]

    # -- changing it --------------------------------------------------------------------------------------

    def append(self, command: bytes, index: int, term: int) -> None:
        """Add the entry after the last one. Durable after `sync`.

        Raises:
            LogDiverged: `index` is not the next one.
        """
        if index != self.last_index + 1:
            raise LogDiverged(f"entry {index} does not follow {self.last_index}")
        record = pack_record(index, term, self._synced_size, command)
        self._pending.append(record)
        self._size += len(record)
        self._entries.append(Entry(command, index, term))
        self._ends.append(self._size)
        self._dirty = True

    def sync(self) -> None:
        """Make everything appended durable: one write, one fdatasync.

        Raises:
            DiskFailed: now and at every later call.
        """
        with self._fatal():
            if not self._dirty:
                return
            self._write_pending()
            self._file.sync()
            self._dirty = False
            self._note_synced()

    def cut_from(self, index: int) -> None:
        """Drop the entries from `index` on: they contradict the leader (Raft §5.3).

        Durable at once: new records written over a truncation that the disk then forgets would mix with old
        ones. It happens at most once per new leader.
        """
        with self._fatal():
            self._abandon()
            self._write_pending()
            position = index - self.base_index
            end = self._ends[position - 1]
            if end < self._synced_size:
                self._lower_mark(end)
            self._file.truncate(end)
            self._file.sync()
            del self._entries[position:], self._ends[position:]
            self._size = end
            self._dirty = False
            self._note_synced()

    def compact(self, base_index: int) -> None:
        """Begin to drop the entries up to and including `base_index`, which must be kept now.

        When little stays, they are gone at once, else after some calls of `go_on`. Until then this does nothing.
        """
        with self._fatal():
            if self._rewriting is None and base_index > self.base_index:
                base = self._entries[base_index - self.base_index]
                self._rewriting = Rewriting(self._files, self._path, base, self._size)
        self.go_on()

    def go_on(self) -> None:
        """Write the next piece of a compaction under way, and free a little of what the last one dropped."""
        del self._dropped[-_FREED_AT_ONCE:]
        if self._rewriting is None:
            return
        with self._fatal():
            begin, end = self._next_piece(self._rewriting)
            self._rewriting.add(self._entries[begin:end])
            if end == len(self._entries):
                self._replace(self._rewriting, self._entries[self._rewriting.base.idx - self.base_index + 1 :])

    def reset(self, index: int, term: int) -> None:
        """Begin after (index, term), which a snapshot covers; keep a matching tail (Raft §7)."""
        tail = self._entries[index - self.base_index + 1 :] if self.term_at(index) == term else []
        with self._fatal():
            self._abandon()
            rewriting = Rewriting(self._files, self._path, Entry(NO_OP, index, term), self._size)
            rewriting.add(tail)
            self._replace(rewriting, tail)

    def close(self) -> None:
        """Sync and close. The files are closed even when the sync fails."""
        try:
            self.sync()
            with self._fatal():
                self._abandon()
        finally:
            self._file.close()
            self._mark.close()

    # -- the file -----------------------------------------------------------------------------------------

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """Make any `OSError` final."""
        if self._failed is not None:
            raise self._failed
        try:
            yield
        except OSError as error:
            self._failed = DiskFailed(f"{self._path}: {error}; the node must stop")
            raise self._failed from error

    def _write_pending(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            write_all(self._file, self._size - len(data), data)
            self._pending.clear()

    def _note_synced(self) -> None:
        self._synced_size = self._size
        self._synced_index = self.last_index
        self._write_mark(self._size)

    def _write_mark(self, size: int) -> None:
        """Remember how far the file is durable. Not synced: a stale mark only detects less."""
        body = _MARK.pack(self.base_index, size, 0)[:-4]
        write_all(self._mark, 0, body + zlib.crc32(body).to_bytes(4, "little"))

    def _lower_mark(self, size: int) -> None:
        """Before durable bytes are cut, the mark has to be below them, durably."""
        self._write_mark(size)
        self._mark.sync()

    def _read_mark(self, base_index: int) -> int:
        raw = self._mark.read_at(0, _MARK.size)
        if len(raw) < _MARK.size:
            return 0
        marked_base, size, crc = _MARK.unpack(raw)
        valid = zlib.crc32(raw[:-4]) == crc and marked_base == base_index
        return int(size) if valid else 0

    def _next_piece(self, rewriting: Rewriting) -> tuple[int, int]:
        """Positions of the entries to copy now: some that stood there, and as many bytes as were appended since.

        So it comes to an end, however much is appended.
        """
        begin = rewriting.upto - self.base_index + 1
        bound = self._ends[begin - 1] + self._piece_bytes + self._size - rewriting.size_seen
        rewriting.size_seen = self._size
        end = max(begin + 1, bisect_right(self._ends, bound))
        return begin, min(end, len(self._entries))

    def _replace(self, rewriting: Rewriting, staying: list[Entry]) -> None:
        """Go on in the new file, which has all that stays, durably."""
        rewriting.finish()
        self._rewriting = None
        replaced, self._file = self._file, self._files.open(self._path)
        replaced.let_go()
        self._pending.clear()
        self._dirty = False
        self._dropped += self._entries
        self._place(Entry(NO_OP, rewriting.base.idx, rewriting.base.term), staying)

    def _abandon(self) -> None:
        if self._rewriting is not None:
            self._rewriting.abandon()
            self._rewriting = None

    def _place(self, base: Entry, entries: list[Entry]) -> None:
        """Take over what the file durably holds."""
        self._entries = [base, *entries]
        self._ends = [HEADER_BYTES]
        for entry in entries:
            self._ends.append(self._ends[-1] + RECORD_OVERHEAD + len(entry.command))
        self._size = self._ends[-1]
        self._note_synced()

    def _load(self) -> None:
        data = self._file.read_at(0, self._file.size())
        if (newer := newer_format(data)) is not None:
            raise WrongDataDirectory(f"{self._path} has format {newer}; this version reads up to {FORMAT}")
        base = read_header(data)
        if base is None:
            raise JournalCorrupt(f"{self._path}: the header is damaged, or this is no journal")
        entries, end = self._read_entries(data, *base)
        durable = self._read_mark(base[0])
        if end < len(data) or end < durable:
            self._judge_damage(data, end, durable)
            self._file.truncate(end)
            self._file.sync()
        self._place(Entry(NO_OP, *base), entries)

    def _read_entries(self, data: bytes, base_index: int, base_term: int) -> tuple[list[Entry], int]:
        entries: list[Entry] = []
        offset, index, term = HEADER_BYTES, base_index, base_term
        while (record := read_record(data, offset)) is not None:
            if record.index != index + 1 or record.term < term:
                raise JournalCorrupt(
                    f"{self._path}: entry {record.index} of term {record.term} at byte {offset} "
                    f"follows entry {index} of term {term}"
                )
            entries.append(Entry(record.payload, record.index, record.term))
            offset, index, term = record.end, record.index, record.term
        return entries, offset

    def _judge_damage(self, data: bytes, end: int, durable: int) -> None:
        """Refuse when the bytes at `end` had been promised; else they are a torn tail."""
        if end < durable or promised_beyond(data, end):
            raise JournalCorrupt(
                f"{self._path}: damaged at byte {end} of {len(data)}, where it was durable; "
                "entries may be lost. Remove the data directory of this node and let it catch up from the others"
            )
