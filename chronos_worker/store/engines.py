"""How connections to the replica are made, and with which pragmas."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

READERS: Final = 8
"""Most read connections at once; a further reader waits for one."""
_CACHE_KIB: Final = 6 * 1024
"""Small, for the operating system keeps the pages too: 32 MB were no faster at loading 700,000 jobs."""
_READ_CACHE_KIB: Final = 4 * 1024
_LONG_LOG_PAGES: Final = 16_000
"""At this length a commit does itself what `CheckpointThread` has left undone."""


def writer_engine(path: Path) -> Engine:
    """The one connection that writes.

    WAL with synchronous=NORMAL: the synced Raft journal is the durable truth, and after a power cut
    SQLite wakes consistent at an older applied index, from which the journal rolls it forward. The
    journal is cut only behind a checkpoint (see `Database.make_durable`).
    """
    return _engine(
        path,
        "BEGIN IMMEDIATE",
        ("journal_mode=WAL", "synchronous=NORMAL", f"cache_size=-{_CACHE_KIB}", "temp_store=MEMORY",
         f"wal_autocheckpoint={_LONG_LOG_PAGES}", "foreign_keys=OFF"),
        poolclass=StaticPool,
    )  # fmt: skip


def reader_engine(path: Path) -> Engine:
    """Connections that read a WAL snapshot and can never write."""
    return _engine(
        path,
        "BEGIN",
        ("query_only=ON", f"cache_size=-{_READ_CACHE_KIB}", "mmap_size=268435456"),
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=5,
    )


def _engine(path: Path, begin: str, pragmas: tuple[str, ...], **pool: Any) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": 5, "cached_statements": 256},
        **pool,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]  # docs/adr/0005

    return engine
