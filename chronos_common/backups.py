"""The form of a backup: a SQLite database, and behind it a description with a checksum of all before it.

    database          `size` bytes, whose SHA-256 the description holds
    description       JSON, see `Description`
    end               SHA-256 of the description (32 bytes), its length (4, big-endian), END_MARK (8)

SQLite passes over what follows its last page, so a backup can be opened and read as the database it is. The
description comes last because its checksum is known last: a copy of any size is written in one pass.

    restore batches   msgpack of `RowBatch`, in pieces of at most MAX_PIECE_BYTES; `chain` runs over the pieces
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final

import msgspec

FORMAT: Final = 1
"""Of the description. A reader refuses a higher one."""
APPLICATION_ID: Final = 0x43686E73
"""In the header of a backup's database ("Chns"), where `file` and SQLite's `application_id` show it."""
END_MARK: Final = b"CHRONOSB"
MAX_DESCRIPTION_BYTES: Final = 4_096
MAX_PIECE_BYTES: Final = 192 * 1024
"""Of one batch of rows in the log; with its envelope it stays below the bound of an entry."""
MAX_PIECES: Final = 16
"""Into which the batch of one large row may be cut."""

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION_ID_AT: Final = slice(68, 72)
"""https://www.sqlite.org/fileformat.html, 1.3."""
HEAD_BYTES: Final = 100
_END: Final = struct.Struct(">32sI8s")
END_BYTES: Final = _END.size


class BadBackup(Exception):
    """A file is no backup, or a damaged one; the message is a sentence without the file's name."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: everything that was applied up to `index`, and nothing after it."""

    format: int = FORMAT
    version: str
    """Of the program that wrote it."""
    schema: str
    """Revision of the tables (`migrations/`)."""
    cluster_id: str
    index: int
    term: int
    taken_at: int
    """ms since the epoch by the clock of `node_id`, when the copy was begun."""
    node_id: str
    size: int
    """Bytes of the database."""
    sha256: str
    """Of the database, in hex. It names the backup."""


class RowBatch(msgspec.Struct, frozen=True, array_like=True):
    """Some rows of one table."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    """Numbers, texts, bytes or None."""


RESTORED_TABLES: Final = ("jobs", "job_tags", "job_versions", "executions", "attempts", "outcomes", "counters")
"""What a restore brings back, in this order. The nodes and the name of the cluster are those of the new one."""


def encode_end(description: Description) -> bytes:
    """What follows the database in the file."""
    body = msgspec.json.encode(description)
    return body + _END.pack(hashlib.sha256(body).digest(), len(body), END_MARK)


def read_description(head: bytes, tail: bytes, file_size: int) -> Description:
    """The description of a backup from its first HEAD_BYTES and last MAX_DESCRIPTION_BYTES + END_BYTES bytes.

    The checksum of the database itself is for the caller to compare.

    Raises:
        BadBackup: it is none, it was cut off, its end is damaged, or this build is too old for it.
    """
    if not tail.endswith(END_MARK) or len(tail) < END_BYTES:
        raise BadBackup(_without_end(head))
    checksum, length, _ = _END.unpack(tail[-END_BYTES:])
    body = tail[-END_BYTES - length : -END_BYTES]
    if length > MAX_DESCRIPTION_BYTES or hashlib.sha256(body).digest() != checksum:
        raise BadBackup("the backup is damaged: the description at its end does not match its checksum")
    try:
        written_as = msgspec.json.decode(body, type=_Format).format
        if written_as > FORMAT:
            raise BadBackup(f"the backup has format {written_as}, this program reads up to {FORMAT}: use a newer one")
        found = msgspec.json.decode(body, type=Description)
    except msgspec.DecodeError as error:
        raise BadBackup(f"the description of the backup cannot be read: {error}") from error
    if found.size + length + END_BYTES != file_size:
        whole = found.size + length + END_BYTES
        raise BadBackup(f"the backup is damaged: it has {file_size} bytes, by its description it had {whole}")
    return found


class _Format(msgspec.Struct):
    format: int


def _without_end(head: bytes) -> str:
    if not head.startswith(_SQLITE_MAGIC):
        return "the file is no backup of Chronos"
    if head[_APPLICATION_ID_AT] != APPLICATION_ID.to_bytes(4, "big"):
        return "the file is a SQLite database, but no backup of Chronos"
    return "the backup is damaged: its end is missing or overwritten, so it was cut off while it was copied"


def join_batch(table: str, columns: tuple[str, ...], rows: list[bytes]) -> bytes:
    """A `RowBatch` of rows already encoded by `encode_row`, as it is cut into pieces."""
    count = len(rows).to_bytes(4, "big")
    return b"".join((b"\x93", _encode(table), _encode(columns), b"\xdd", count, *rows))


def encode_row(values: tuple[int | float | str | bytes | None, ...]) -> bytes:
    """One row for `join_batch`."""
    return _encode(values)


_encode = msgspec.msgpack.Encoder().encode


def decode_batch(data: bytes) -> RowBatch:
    """A batch from its joined pieces; raises `msgspec.DecodeError` on anything else."""
    return msgspec.msgpack.decode(data, type=RowBatch)


CHAIN_START: Final = bytes(32)


def chain(before: bytes, piece: bytes) -> bytes:
    """The digest of all pieces up to this one; `before` is that of the pieces before, of none CHAIN_START."""
    return hashlib.sha256(before + piece).digest()
