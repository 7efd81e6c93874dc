"""The SQLite replica of a simulated node: real files, and a memory of what a power cut leaves of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from chronos_worker.store.database import Database

_SUFFIXES = ("", "-wal", "-shm")


class SimDatabase(Database):
    """Keeps a copy of the last state that was promised to be durable; `restore` goes back to it.

    WAL with synchronous=NORMAL may lose every transaction after the last checkpoint to a power cut, never one
    before it.
    """

    def make_durable(self) -> int:
        index = super().make_durable()
        shutil.copyfile(self.path, durable_copy(self.path))
        return index

    def replace_with(self, file: Path) -> None:
        super().replace_with(file)
        super().make_durable()
        shutil.copyfile(self.path, durable_copy(self.path))


class InlineCheckpoints:
    """Makes the rows durable at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.durable_index = 0

    def ask(self) -> None:
        self.durable_index = self._database.make_durable()


def durable_copy(path: Path) -> Path:
    """Where the copy of the durable state is kept."""
    return path.with_name(path.name + ".durable")


def restore(path: Path) -> None:
    """Leave of the database only what was durable. Nothing may have it open."""
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if durable_copy(path).exists():
        shutil.copyfile(durable_copy(path), path)
