"""Term, vote and identity of this node: the few words Raft must never forget (Raft §5, Figure 2).

Every change is on disk, directory entry included, before `save` returns, and only then may a message show it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from chronos_worker.raft.errors import JournalCorrupt, WrongDataDirectory
from chronos_worker.raft.files import replace_durably

if TYPE_CHECKING:
    from pathlib import Path

    from chronos_worker.raft.files import Files

FORMAT: Final = 1
_CRC_BYTES: Final = 4


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    node_id: str
    cluster_id: str
    term: int
    voted_for: str | None
    joined: bool


class VoteFile:
    """`vote` in the data directory. Raises `OSError` from the disk; the caller makes it fatal."""

    def __init__(self, files: Files, directory: Path, node_id: str, cluster_id: str) -> None:
        self._files = files
        self._path = directory / "vote"
        self.is_new = not files.exists(self._path)
        record = _Record(format=FORMAT, node_id=node_id, cluster_id=cluster_id, term=0, voted_for=None, joined=False)
        if not self.is_new:
            record = self._adopt(self._load(), node_id, cluster_id)
        self._record = record

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

    @property
    def cluster_id(self) -> str:
        """The cluster these files belong to; empty until known."""
        return self._record.cluster_id

    def save(self, term: int, voted_for: str | None) -> None:
        """Make term and vote durable; nothing is written when they are unchanged."""
        if self.is_new or (term, voted_for) != (self._record.term, self._record.voted_for):
            self._write(msgspec.structs.replace(self._record, term=term, voted_for=voted_for))

    def join(self) -> None:
        """Remember that this node has been up to date: from now on its votes count."""
        if not self._record.joined:
            self._write(msgspec.structs.replace(self._record, joined=True))

    def _write(self, record: _Record) -> None:
        body = msgspec.msgpack.encode(record)
        replace_durably(self._files, self._path, zlib.crc32(body).to_bytes(_CRC_BYTES, "big") + body)
        self._record = record
        self.is_new = False

    def _load(self) -> _Record:
        file = self._files.open(self._path)
        try:
            raw = file.read_at(0, file.size())
        finally:
            file.close()
        body = raw[_CRC_BYTES:]
        if zlib.crc32(body).to_bytes(_CRC_BYTES, "big") != raw[:_CRC_BYTES]:
            raise JournalCorrupt(f"{self._path}: checksum does not match; term and vote are unknown")
        try:
            return msgspec.msgpack.decode(body, type=_Record)
        except msgspec.DecodeError as error:
            raise WrongDataDirectory(f"{self._path} is not of format {FORMAT}: {error}") from error

    def _adopt(self, record: _Record, node_id: str, cluster_id: str) -> _Record:
        if record.format > FORMAT:
            raise WrongDataDirectory(f"{self._path} has format {record.format}; this version reads up to {FORMAT}")
        if record.node_id != node_id:
            raise WrongDataDirectory(f"{self._path} belongs to node {record.node_id!r}, this is node {node_id!r}")
        if cluster_id and record.cluster_id and record.cluster_id != cluster_id:
            raise WrongDataDirectory(
                f"{self._path} belongs to cluster {record.cluster_id!r}, this node is configured for {cluster_id!r}"
            )
        if cluster_id and not record.cluster_id:
            self._record = record
            self._write(msgspec.structs.replace(record, cluster_id=cluster_id))
            return self._record
        return record
