"""A journal without its old entries, written piece by piece beside the one in use.

Written in one go it kept every fire and heartbeat waiting for 40 ms and more (docs/adr/0012). A piece is little
enough for one turn, and synced at once: what is left for the end is the rename.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chronos_worker.raft.files import write_all
from chronos_worker.raft.records import pack_header, pack_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chronos_worker.raft.files import File, Files
    from chronos_worker.raft.journal import Entry


class Rewriting:
    """A file beside `path` that begins after the entry `base`, until `finish` lets it take the place of `path`.

    `size_seen` is how long the file in use was when the last piece was taken from it.

    Raises:
        OSError: from the disk, at any call.
    """

    def __init__(self, files: Files, path: Path, base: Entry, size_seen: int) -> None:
        self.base = base
        self.upto = base.idx
        self.size_seen = size_seen
        self._files = files
        self._path = path
        self._scratch = path.with_name(path.name + ".new")
        files.remove(self._scratch)
        self._file: File = files.open(self._scratch)
        self._size = 0
        self._write(pack_header(base.idx, base.term))

    def add(self, entries: Sequence[Entry]) -> None:
        """Write the next entries, durably."""
        self._write(b"".join(pack_record(entry.idx, entry.term, 0, entry.command) for entry in entries))
        self._file.sync()
        if entries:
            self.upto = entries[-1].idx

    def finish(self) -> None:
        """Take the place of the file in use, atomically and durably. Something must have been added."""
        self._file.close()
        self._files.rename(self._scratch, self._path)
        self._files.sync_directory(self._path.parent)

    def abandon(self) -> None:
        """Leave no trace."""
        self._file.close()
        self._files.remove(self._scratch)

    def _write(self, data: bytes) -> None:
        write_all(self._file, self._size, data)
        self._size += len(data)
