"""Backups on their way out: one copy at a time, made in the background, kept while somebody reads it.

A caller has the copy prepared, reads it piece by piece with the token it got, and releases it. A copy that
nobody has read from for a while is removed: it holds every secret of every job.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from chronos_common.backups import Description
from chronos_common.clock import Clock
from chronos_common.protocol import BackupPart, BackupReady, BackupUnderWay, Done, Rejected
from chronos_worker.store.backup_copy import CopyFailed, write_backup
from chronos_worker.store.database import Database

PART_BYTES: Final = 1 << 20
IDLE_S: Final = 60.0
"""A copy not read from for this long is removed."""
RESERVE_BYTES: Final = 128 << 20
"""What a copy leaves free on the disk. A full disk stops the worker: its journal lies there too."""
MAX_WAIT_S: Final = 60.0
_CONFIRM_S: Final = 5.0


class _Taking:
    """One backup, from the request to the last read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: Description | None = None
        self.size = 0
        self.failure: str | None = None
        self.token: str | None = None
        self.read_at_s = 0.0
        self.released = False


class Backups:
    """Makes and hands out backups. Any thread.

    Args:
        database: the rows.
        directory: where copies lie while they are read; emptied now.
        node_id: this node.
        cluster_id: the name of the cluster, as far as it is known.
        confirm: waits up to so many seconds until everything acknowledged by now is applied here; the index,
            or None if no quorum confirmed it.
        background: where copies are made; one thread of it is busy until the copy was read.
        clock: the time a backup states, and how long it lies idle.
        free_bytes: what is free on the disk of a directory.
        idle_s: see IDLE_S.
    """

    def __init__(
        self,
        database: Database,
        directory: Path,
        node_id: str,
        *,
        cluster_id: Callable[[], str],
        confirm: Callable[[float], int | None],
        background: Executor,
        clock: Clock,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        idle_s: float = IDLE_S,
    ) -> None:
        self._database = database
        self._directory = directory
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._confirm = confirm
        self._background = background
        self._clock = clock
        self._free_bytes = free_bytes
        self._idle_s = idle_s
        self._taking: _Taking | None = None
        self._changed = threading.Condition()
        self._closed = False
        shutil.rmtree(directory, ignore_errors=True)

    def prepare(self, wait_s: float) -> BackupReady | BackupUnderWay | Rejected:
        """Begin a backup, or go on waiting for the one begun; whoever gets it has it alone."""
        with self._changed:
            if self._closed:
                return Rejected("unavailable", "this worker is stopping")
            taking = self._taking
            if taking is None:
                taking = self._taking = _Taking(self._directory / f"{secrets.token_hex(8)}.backup")
                self._background.submit(self._take, taking)
            self._changed.wait_for(lambda: taking.made or taking.failure, min(wait_s, MAX_WAIT_S))
            if taking.failure is not None:
                return Rejected("unavailable", f"no backup was made: {taking.failure}")
            if taking.made is None:
                return BackupUnderWay()
            if taking.token is not None or taking.released:
                return Rejected("conflict", "somebody else is reading a backup from this worker; try again later")
            taking.token, taking.read_at_s = secrets.token_hex(16), self._clock.monotonic_s()
            return BackupReady(taking.token, taking.size, taking.made.index, taking.made.taken_at)

    def read(self, token: str, offset: int) -> BackupPart | Rejected:
        """The bytes at an offset; none are left at the end."""
        with self._changed:
            taking = self._taking
            if taking is None or taking.token != token or taking.released:
                return Rejected("conflict", "this backup is no longer kept here: take a new one")
            taking.read_at_s = self._clock.monotonic_s()
            descriptor = os.open(taking.path, os.O_RDONLY)
        try:
            return BackupPart(os.pread(descriptor, PART_BYTES, offset))
        finally:
            os.close(descriptor)

    def release(self, token: str) -> Done:
        """Nobody will read this backup any more."""
        with self._changed:
            if self._taking is not None and self._taking.token == token:
                self._taking.released = True
                self._changed.notify_all()
        return Done("the backup is not kept any longer")

    def close(self) -> None:
        """Remove what is kept."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- in the background --------------------------------------------------------------------------------

    def _take(self, taking: _Taking) -> None:
        try:
            made = self._make(taking.path)
        except CopyFailed as error:
            self._give_up(taking, str(error))
            return
        with self._changed:
            taking.size = taking.path.stat().st_size
            taking.made, taking.read_at_s = made, self._clock.monotonic_s()
            self._changed.notify_all()
            while not (taking.released or self._closed) and (left_s := self._left_s(taking)) > 0:
                self._changed.wait(left_s)
            self._taking = None
        taking.path.unlink(missing_ok=True)

    def _left_s(self, taking: _Taking) -> float:
        return taking.read_at_s + self._idle_s - self._clock.monotonic_s()

    def _make(self, path: Path) -> Description:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            free, needed = self._free_bytes(self._directory), self._database.size()
        except OSError as error:
            raise CopyFailed(str(error)) from error
        if free < needed + RESERVE_BYTES:
            raise CopyFailed(
                f"it takes {needed} bytes in {self._directory} beside {RESERVE_BYTES} to be left free, "
                f"{free} are free there"
            )
        if self._confirm(_CONFIRM_S) is None:
            raise CopyFailed("no quorum of workers confirmed that this one is up to date")
        return write_backup(
            self._database,
            path,
            node_id=self._node_id,
            cluster_id=self._cluster_id(),
            taken_at=self._clock.now_ms(),
            go_on=self._go_on,
        )

    def _go_on(self) -> None:
        if self._closed:
            raise CopyFailed("this worker is stopping")

    def _give_up(self, taking: _Taking, failure: str) -> None:
        with self._changed:
            taking.failure = failure
            self._taking = None
            self._changed.notify_all()
