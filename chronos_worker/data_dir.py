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
            raise DataDirError(f"the data directory {path} cannot be written: {error.strerror}") from error
        self._take_lock()
        self._claim(node_id)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
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
            self.close()
            raise DataDirError(
                f"the data directory {self.path} belongs to node {owner!r}, this is {node_id!r}: "
                "set cluster.node_id back, or use another directory"
            )

    def next_incarnation(self, at_least: int) -> int:
        """A number no life of this node ever had, on disk before it is returned."""
        file = self.path / _INCARNATION_FILE
        last = int(file.read_text(encoding="utf-8")) if file.exists() else 0
        following = max(last + 1, at_least)
        _write_durably(file, str(following))
        return following

    def own_secret(self, name: str) -> str:
        """The secret a single node made for itself; made now if there is none."""
        file = self.path / name
        if not file.exists():
            _write_durably(file, secrets.token_urlsafe(2 * MIN_SECRET))
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
