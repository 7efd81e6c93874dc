"""The directory that is one node's memory: whose it is, who holds it, and how many lives it has seen."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from chronos_common.config.checks import MIN_SECRET

_NODE_FILE: Final = "node_id"
_INCARNATION_FILE: Final = "incarnation"
_VERSION_FILE: Final = "version"
_LOCK_FILE: Final = "lock"


class DataDirError(Exception):
    """The directory cannot be used by this node; the message names the directory and what to do."""


class DataDir:
    """An opened and locked data directory, readable by its owner only.

    Raises:
        DataDirError: it is in use by another process, belongs to another node, or cannot be written.
    """

    def __init__(self, path: Path, node_id: str) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._take_lock()
            self._claim(node_id)
            self._incarnation = self._read_incarnation()
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except DataDirError:
            self.close()
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise DataDirError(
                f"the data directory {self.path} is in use by process {holder}; stop it, or use another directory"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _claim(self, node_id: str) -> None:
        file = self.path / _NODE_FILE
        if not file.exists():
            _write_durably(file, node_id)
        owner = file.read_text(encoding="utf-8")
        if owner != node_id:
            raise DataDirError(
                f"the data directory {self.path} belongs to node {owner!r}, this is {node_id!r}: "
                "set cluster.node_id back, or use another directory"
            )

    def _read_incarnation(self) -> int:
        file = self.path / _INCARNATION_FILE
        if not file.exists():
            return 0
        text = file.read_text(encoding="utf-8", errors="replace")
        if not text.isdecimal():
            raise DataDirError(
                f"{file} is damaged: it holds {text[:20]!r}, no number; restore the directory from a backup, "
                "or let the node join anew with another one"
            )
        return int(text)

    def _unwritable(self, error: OSError) -> DataDirError:
        return DataDirError(f"the data directory {self.path} cannot be written: {error.strerror}")

    def next_incarnation(self, at_least: int) -> int:
        """A number no life of this node ever had, on disk before it is returned.

        Raises:
            OSError: it could not be made durable.
        """
        following = max(self._incarnation + 1, at_least)
        _write_durably(self.path / _INCARNATION_FILE, str(following))
        self._incarnation = following
        return following

    @property
    def version(self) -> str:
        """The version of Chronos that last worked here; empty if none has."""
        file = self.path / _VERSION_FILE
        return file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""

    def used_by(self, version: str) -> None:
        """Remember which version works here, once it has found that it can.

        Raises:
            DataDirError: it cannot be kept.
        """
        if version != self.version:
            try:
                _write_durably(self.path / _VERSION_FILE, version)
            except OSError as error:
                raise self._unwritable(error) from error

    def own_secret(self, name: str) -> str:
        """The secret a single node made for itself; made now if there is none.

        Raises:
            DataDirError: it cannot be kept.
        """
        file = self.path / name
        try:
            if not file.exists():
                _write_durably(file, secrets.token_urlsafe(2 * MIN_SECRET))
        except OSError as error:
            raise self._unwritable(error) from error
        return file.read_text(encoding="utf-8").strip()

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def _write_durably(file: Path, text: str) -> None:
    """Replace a small file as a whole, so that a crash leaves the old text or the new."""
    temporary = file.with_name(file.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
