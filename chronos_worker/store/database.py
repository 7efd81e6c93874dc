"""The replica as a whole: opening, applying transactions, reading, making durable, copying, replacing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine

from chronos_common.commands import READS
from chronos_worker.store.engines import reader_engine, writer_engine
from chronos_worker.store.revision import NewerData, newest, revision_of

_COPY_PAGES: Final = 2_000
_HASH_CHUNK: Final = 1 << 20


class Database:
    """The SQLite file of one worker. `write` and `look` are for the node's thread only, `read` for any.

    Raises:
        NewerData: its schema, or the level of the commands that made its rows (above `reads`), is not known here.
    """

    def __init__(self, path: Path, reads: int = READS) -> None:
        self.path = path
        self.reads = reads
        self._staying = threading.Lock()
        """Held by who is in the file without a connection of ours, and by who puts another in its place."""
        self._writing = threading.Lock()
        """Held by who writes, and by who needs that nobody does. SQLite's own lock lets who waits sleep too long."""
        self._open()

    def _open(self) -> None:
        self._writer: Engine = writer_engine(self.path)
        try:
            if revision_of(self.path) != newest():
                from chronos_worker.store.schema import migrate  # noqa: PLC0415 - Alembic is large and seldom needed

                migrate(self._writer)
            self._check_level()
        except BaseException:
            self._writer.dispose()
            raise
        self._readers: Engine = reader_engine(self.path)
        # Never closed before the connections: closing any descriptor of a file gives up this process's locks on it.
        self._file = os.open(self.path, os.O_RDONLY)
        # Held open: a checkout from the pool costs more than the statements of a small transaction.
        self._node_writer = self._writer.connect()
        driver = self._node_writer.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the only driver there is
        self._driver = driver

    def _check_level(self) -> None:
        with self._writer.begin() as connection:
            level = _level(connection)
        if level > self.reads:
            raise NewerData(f"its cluster is at command level {level}, this version reads up to {self.reads}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction on the write connection; commits at the end, rolls back on any exception."""
        with self._writing, self._node_writer.begin():
            yield self._node_writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: everything inside sees one state."""
        with self._readers.begin() as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """As `read`, for the node's thread between its writes: on the write connection, whose cache has the pages.

        A connection of its own would forget its cache at every write of another, and read all it needs anew.
        """
        with self._node_writer.begin():
            yield self._node_writer

    def applied(self) -> tuple[int, int]:
        """(index, term) of the last log entry whose effects are in the rows."""
        with self._readers.begin() as connection:
            rows: dict[str, Any] = dict(
                connection.exec_driver_sql(
                    "SELECT key, value FROM meta WHERE key IN ('applied_index', 'applied_term')"
                ).all()
            )
        return int(rows["applied_index"]), int(rows["applied_term"])

    def level(self) -> int:
        """The highest level of commands that may stand in the log after what was applied."""
        with self._readers.begin() as connection:
            return _level(connection)

    def make_durable(self) -> int:
        """Sync everything applied so far to disk; returns the applied index that now survives power loss. Any thread.

        0 if another checkpoint is under way. A checkpoint syncs the write-ahead log before it copies from it (SQLite,
        "Write-Ahead Logging", §3.2). What a long read keeps it from copying is not synced by it, and has to be made
        durable where it is.
        """
        with self._staying, closing(sqlite3.connect(self.path)) as connection:
            ((index,),) = connection.execute("SELECT value FROM meta WHERE key = 'applied_index'").fetchall()
            written, copied = self._copy_back(connection)
        if written < 0:
            return 0
        if copied < written:
            self._sync(self.path.with_name(self.path.name + "-wal"))
        return int(index)

    @property
    def changes(self) -> int:
        """Rows changed since the file was opened. Any thread."""
        with self._staying:
            return self._driver.total_changes

    def checkpoint(self, *, wholly: bool = False) -> tuple[int, int]:
        """Copy what stands in the write-ahead log into the file, beside readers and the writer. Any thread.

        Returns how many pages stood in the log when it began, and how many of them are in the file now, both -1 if
        another checkpoint is under way. What was written meanwhile is in neither number. `wholly` lets the writer
        wait meanwhile, so that nothing is: then the next to write begins the log anew at its front, unless somebody
        reads what stands there. To be used when little is left.
        """
        with self._staying, closing(sqlite3.connect(self.path)) as connection:
            if not wholly:
                return self._copy_back(connection)
            with self._writing:
                return self._copy_back(connection)

    def _copy_back(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """One pass, and a sync of what it copied.

        SQLite syncs the file only in a pass that leaves nothing; the one the writer waits for shall find little.
        """
        ((_, written, copied),) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        os.fdatasync(self._file)
        return int(written), int(copied)

    def _sync(self, file: Path) -> None:
        _fsync(file)

    def size(self) -> int:
        """Bytes of the database file and its write-ahead log."""
        return sum(
            file.stat().st_size for file in (self.path, self.path.with_name(self.path.name + "-wal")) if file.exists()
        )

    def copy_to(
        self, target: Path, *, application_id: int = 0, go_on: Callable[[], None] = lambda: None
    ) -> tuple[int, int]:
        """A consistent copy at one applied index, made beside running writes; returns (index, term).

        The copy reads inside one WAL snapshot, so writers go on meanwhile. What it wrote is synced every few
        megabytes: one sync of all of it would keep the journal's waiting for seconds. As often `go_on` is called;
        what it raises ends the copy. Safe from any thread.
        """
        target.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(self.path, isolation_level=None)) as source,
            closing(sqlite3.connect(target)) as copy,
            target.open("r+b") as file,
        ):

            def stepped(*_: int) -> None:
                os.fdatasync(file.fileno())
                go_on()

            source.execute("BEGIN")
            rows: dict[str, Any] = dict(source.execute("SELECT key, value FROM meta").fetchall())
            copy.execute("PRAGMA synchronous=OFF")
            source.backup(copy, pages=_COPY_PAGES, sleep=0.001, progress=stepped)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            copy.execute(f"PRAGMA application_id={application_id}")
            # The write-ahead log has grown while it could not be emptied. Better this thread empties it than the
            # one whose next commit would find it so long.
            source.execute("COMMIT")
            source.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        _fsync(target)
        return int(rows["applied_index"]), int(rows["applied_term"])

    def replace_with(self, file: Path) -> None:
        """Atomically become the copy in `file` (same file system), and open it."""
        with self._staying:
            self.close()
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            file.replace(self.path)
            _fsync(self.path.parent)
            self._open()

    def close(self) -> None:
        """Give back all connections."""
        self._node_writer.close()
        self._readers.dispose()
        self._writer.dispose()
        os.close(self._file)


def _level(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'level'").scalar_one())


def sha256_of(file: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
