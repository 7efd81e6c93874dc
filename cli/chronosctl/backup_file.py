"""A backup on this machine: writing one as it arrives, checking one, and cutting its rows into pieces."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from chronos_common.backups import (
    END_BYTES,
    HEAD_BYTES,
    MAX_DESCRIPTION_BYTES,
    MAX_PIECE_BYTES,
    RESTORED_TABLES,
    BadBackup,
    Description,
    encode_row,
    join_batch,
    read_description,
)
from cli.chronosctl.failures import CliError, bad_input

_CHUNK: Final = 1 << 20
_SYNC_BYTES: Final = 16 << 20
_OWNER_ONLY: Final = 0o600
_BATCH_BYTES: Final = MAX_PIECE_BYTES - 4_096
"""Of rows in a batch; the rest of a piece is for the names of table and columns."""

Progress = Callable[[int], None]
"""Told how many bytes have been done since the last time."""


class Piece(NamedTuple):
    """What one step of a restore sends; `more`: its batch goes on in the next. `rows` end with this piece."""

    number: int
    data: bytes
    more: bool
    table: str
    rows: int


def check(path: Path, progress: Progress) -> Description:
    """The description of the backup in a file, after all of the file was held against its checksum.

    Raises:
        CliError: it cannot be read, is no backup, or a damaged one.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(HEAD_BYTES)
            stream.seek(max(0, size - MAX_DESCRIPTION_BYTES - END_BYTES))
            found = read_description(head, stream.read(), size)
            stream.seek(0)
            digest, left = hashlib.sha256(), found.size
            while left and (data := stream.read(min(_CHUNK, left))):
                digest.update(data)
                left -= len(data)
                progress(len(data))
    except OSError as error:
        raise bad_input(f"{path} cannot be read: {error.strerror or error}") from error
    except BadBackup as error:
        raise bad_input(f"{path}: {error}") from error
    if digest.hexdigest() != found.sha256:
        raise bad_input(f"{path}: the backup is damaged: its bytes do not match their checksum")
    return found


def write(path: Path, chunks: Iterable[bytes], *, replace: bool) -> Description:
    """Keep what arrives as a file that only its owner can read; it appears under its name complete and checked.

    Raises:
        CliError: there is a file of that name already, it cannot be written, or what arrived is no whole backup.
    """
    if path.exists() and not replace:
        raise bad_input(f"{path} exists already", "accepted: another name, or --force to replace it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as stream:
            _write(stream, chunks)
        found = check(temporary, lambda _: None)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror or error}") from error
    except CliError as error:
        told = error.message.replace(str(temporary), "what arrived")
        raise CliError(f"{path} was not written: {told}", error.status, error.details) from error
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _write(stream: BinaryIO, chunks: Iterable[bytes]) -> None:
    """Write and sync, a little at a time: a sync of gigabytes would make everybody else on that disk wait."""
    unsynced = 0
    for chunk in chunks:
        stream.write(chunk)
        unsynced += len(chunk)
        if unsynced >= _SYNC_BYTES:
            stream.flush()
            os.fdatasync(stream.fileno())
            unsynced = 0
    stream.flush()
    os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pieces(path: Path) -> Iterator[Piece]:
    """The rows of a checked backup, always cut the same way.

    Raises:
        CliError: the database in the backup cannot be read.
    """
    number = 0
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            for table in RESTORED_TABLES:
                for rows, data in _batches(connection, table):
                    cuts = range(0, len(data), MAX_PIECE_BYTES)
                    for start in cuts:
                        number += 1
                        more = start != cuts[-1]
                        yield Piece(number, data[start : start + MAX_PIECE_BYTES], more, table, 0 if more else rows)
    except sqlite3.Error as error:
        raise bad_input(f"{path}: the database in the backup cannot be read: {error}") from error


def _batches(connection: sqlite3.Connection, table: str) -> Iterator[tuple[int, bytes]]:
    """(number of rows, batch) until the table is through; a row larger than a piece is a batch of its own."""
    info = connection.execute(f"PRAGMA table_info({table})").fetchall()
    columns = tuple(column[1] for column in info)
    key = ", ".join(column[1] for column in sorted(info, key=lambda column: column[5]) if column[5])
    rows: list[bytes] = []
    size = 0
    found = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {key}")  # noqa: S608 - constants
    for row in found:
        encoded = encode_row(row)
        if rows and size + len(encoded) > _BATCH_BYTES:
            yield len(rows), join_batch(table, columns, rows)
            rows, size = [], 0
        rows.append(encoded)
        size += len(encoded)
    if rows:
        yield len(rows), join_batch(table, columns, rows)
