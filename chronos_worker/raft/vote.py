"""Term and vote of this node: the few words Raft must never forget (Raft §5, Figure 2).

Every change is on disk, directory entry included, before `save` returns, and only then may a message show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from chronos_worker.raft.checked import with_checksum, without_checksum
from chronos_worker.raft.errors import JournalCorrupt, WrongDataDirectory
from chronos_worker.raft.files import replace_durably

if TYPE_CHECKING:
    from pathlib import Path

    from chronos_worker.raft.files import Files

FORMAT: Final = 1


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    node_id: str
    term: int
    voted_for: str | None
    joined: bool


class VoteFile:
    """`vote` in the data directory. Raises `OSError` from the disk; the caller makes it fatal."""

    def __init__(self, files: Files, directory: Path, node_id: str) -> None:
        self._files = files
        self._path = directory / "vote"
        self.is_new = not files.exists(self._path)
        self._record = (
            _Record(format=FORMAT, node_id=node_id, term=0, voted_for=None, joined=False)
            if self.is_new
            else self._load(node_id)
        )

    @property
    def term(self) -> int:
        """The latest term this node has seen."""
        return self._record.term

    @property
    def voted_for(self) -> str | None:
        """Whom this node voted for in `term`."""
        return self._record.voted_for

    @property
    def joined(self) -> bool:
        """Whether this node has once been up to date since its files were made."""
        return self._record.joined

    def save(self, term: int, voted_for: str | None) -> None:
        """Make term and vote durable; nothing is written when they are unchanged."""
        if self.is_new or (term, voted_for) != (self._record.term, self._record.voted_for):
            self._write(msgspec.structs.replace(self._record, term=term, voted_for=voted_for))

    def join(self) -> None:
        """Remember that this node has been up to date: from now on its votes count."""
        if not self._record.joined:
            self._write(msgspec.structs.replace(self._record, joined=True))

    def _write(self, record: _Record) -> None:
        replace_durably(self._files, self._path, with_checksum(msgspec.msgpack.encode(record)))
        self._record = record
        self.is_new = False

    def _load(self, node_id: str) -> _Record:
        body = without_checksum(self._path.read_bytes())
        if body is None:
            raise JournalCorrupt(f"{self._path}: checksum does not match; term and vote are unknown")
        try:
            record = msgspec.msgpack.decode(body, type=_Record)
        except msgspec.DecodeError as error:
            raise WrongDataDirectory(f"{self._path} is not of format {FORMAT}: {error}") from error
        if record.format > FORMAT:
            raise WrongDataDirectory(f"{self._path} has format {record.format}; this version reads up to {FORMAT}")
        if record.node_id != node_id:
            raise WrongDataDirectory(f"{self._path} belongs to node {record.node_id!r}, this is node {node_id!r}")
        return record
