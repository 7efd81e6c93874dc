"""Which schema a replica has, and bringing it to this build's at little cost in memory.

Alembic, with the dialects and templates that it imports, takes 17 MB of a process and is needed once for each new
schema. So it is not imported where there is nothing to do, and a worker lets a process of its own do the rest.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

import migrations

_IMPORT_ROOT: Final = str(Path(__file__).resolve().parents[2])


class NewerData(Exception):
    """The data was written by a newer version of Chronos; this one must not touch it."""


@cache
def known_revisions() -> frozenset[str]:
    """Every schema this build can read, or bring to its own: migrations only add.

    They are the numbers that the files in `migrations/versions` begin with.
    """
    files = (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    return frozenset(file.name.partition("_")[0] for file in files)


def newest() -> str:
    """The revision that this build writes."""
    return max(known_revisions())


def get_revision(connection: Connection) -> str | None:
    """The schema of the rows; None for an empty file."""
    if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first() is None:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def revision_of(path: Path) -> str | None:
    """The revision of a database file; None when it has none yet, or is no database."""
    if not path.exists():
        return None
    # Read only: the last writing connection to close would copy the whole write-ahead log into the file.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.Error:
            return None
    return None if row is None else str(row[0])


def migrate_apart(path: Path) -> None:
    """Bring a database file to this build's schema in another process, if it is at an older one.

    Whatever fails there is not told: opening the database finds it out again, and says what it is.
    """
    if revision_of(path) == newest():
        return
    paths = (_IMPORT_ROOT, os.environ.get("PYTHONPATH", ""))
    subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "chronos_worker.store.schema", str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
