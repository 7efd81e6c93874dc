"""Moving what was written from the write-ahead log into the database file, beside the thread that writes.

SQLite does this at the end of whichever commit made the log long: sixteen megabytes of pages all over the file, and
two syncs, 50 ms in which no fire leaves (docs/adr/0011). Here a thread of its own does it, early and again; what
SQLite finds left when the log is long all the same is little.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Final

import structlog

from chronos_worker.store.database import Database

CHANGES: Final = 1_000
"""Rows changed from one round to the next; each touches a few pages. What is synced at once keeps the journal's sync
waiting: beside pruning 14 ms at most with 2,000, and 11 with 1,000."""
_FEW_PAGES: Final = 200
_PASSES: Final = 6
"""What is written during a pass is left for the next, which is shorter. When few are left, the writer may wait for
them, and begins the log anew at its front: so it stays short."""
_LOOK_S: Final = 0.1

log = structlog.get_logger("chronos.store")


class CheckpointThread:
    """Checkpoints a database whenever enough was written, and whenever it is asked how far it is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ending = threading.Event()
        self._seen = 0
        self._asked = False
        self._durable_index = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End; a pass under way is finished."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def ask(self) -> None:
        """Have everything applied until now made durable, soon. Any thread."""
        self._asked = True

    @property
    def durable_index(self) -> int:
        """The applied index that survives power loss, as of the last time that this was asked for. Any thread.

        Raises:
            OSError, sqlite3.Error: a checkpoint failed, so nobody knows what is on the disk.
        """
        if self._failure is not None:
            raise self._failure
        return self._durable_index

    def run_once(self) -> int:
        """Do what is due; how many passes that took."""
        passes = 0
        changes = self._database.changes
        if abs(changes - self._seen) >= CHANGES:
            self._seen = changes
            passes = self._copy_back()
        if self._asked:
            self._asked = False  # before anything is read: who asks from now on means a later index
            passes += 1
            index = self._database.make_durable()
            self._durable_index = max(self._durable_index, index)
            self._asked |= not index  # another checkpoint is under way
        return passes

    def _copy_back(self) -> int:
        before = 0
        for passes in range(1, _PASSES + 1):
            written, copied = self._database.checkpoint()
            if copied < written or written < 0:  # a reader needs the rest; another checkpoint is under way
                return passes
            if written - before < _FEW_PAGES:
                self._database.checkpoint(wholly=True)
                return passes + 1
            before = written
        return _PASSES

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_S):
            try:
                self.run_once()
            except (sqlite3.Error, OSError) as error:
                if not _is_harmless(error):
                    self._failure = error  # a sync that failed is never tried again as if nothing had happened
                    return
                log.warning("checkpoint_put_off", error=str(error))


def _is_harmless(error: Exception) -> bool:
    """Whether nothing was begun. The low byte of SQLite's codes is the kind of error."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN)
