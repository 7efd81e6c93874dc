"""The few file operations the log depends on, as a seam.

The simulator puts a disk behind it that forgets un-synced bytes, tears writes, loses renames and runs full.
Nothing here retries: an `OSError` reaches the caller, who turns it into `DiskFailed`.
"""

from __future__ import annotations

import fcntl
import os
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class File(Protocol):
    """An open regular file. Offsets and sizes are bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file."""

    def write_at(self, offset: int, data: bytes) -> int:
        """Write and return how many bytes were taken. Not durable before `sync`."""

    def truncate(self, size: int) -> None:
        """Cut the file. Not durable before `sync`."""

    def sync(self) -> None:
        """Make content and size durable (fdatasync)."""

    def size(self) -> int:
        """Return the current size."""

    def close(self) -> None:
        """Close without syncing."""

    def let_go(self) -> None:
        """Close a file that has no name any more, without waiting until its space is free."""


class Files(Protocol):
    """A file system."""

    def open(self, path: Path) -> File:
        """Open for reading and writing, created when absent."""

    def exists(self, path: Path) -> bool:
        """Tell whether the file exists."""

    def make_directory(self, path: Path) -> None:
        """Create the directory and its parents when absent."""

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` atomically. Not durable before `sync_directory`."""

    def remove(self, path: Path) -> None:
        """Remove the file; absent is fine. Not durable before `sync_directory`."""

    def sync_directory(self, path: Path) -> None:
        """Make names in the directory durable."""

    def lock(self, path: Path) -> File:
        """Open and lock exclusively until closed.

        Raises:
            BlockingIOError: somebody else holds it.
        """


class OsFile:
    """`File` on a file descriptor."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read until `size` or the end: one pread returns at most 2 GiB."""
        parts: list[bytes] = []
        while size > 0:
            part = os.pread(self._fd, min(size, 1 << 24), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> int:
        """Write once; a short count is the caller's to judge."""
        return os.pwrite(self._fd, data, offset)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """Fdatasync."""
        os.fdatasync(self._fd)

    def size(self) -> int:
        """Return the current size."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def let_go(self) -> None:
        """Close beside us: ext4 took 17 ms to free the 32 MB of a journal."""
        try:
            Thread(target=self.close, name="let-go").start()
        except RuntimeError:  # the system has no thread for us
            self.close()

    def lock(self) -> None:
        """Take the lock or raise `BlockingIOError`."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class OsFiles:
    """The operating system's files."""

    def open(self, path: Path) -> OsFile:
        """Open for reading and writing, created when absent."""
        return OsFile(path)

    def exists(self, path: Path) -> bool:
        """Tell whether the file exists."""
        return path.exists()

    def make_directory(self, path: Path) -> None:
        """Create the directory and its parents when absent."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` atomically."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove the file; absent is fine."""
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Fsync the directory."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: Path) -> OsFile:
        """Open and lock exclusively until closed."""
        file = OsFile(path)
        try:
            file.lock()
        except BlockingIOError:
            file.close()
            raise
        return file


def write_all(file: File, offset: int, data: bytes) -> None:
    """Write `data` or raise: on a regular file a short write means that the disk is full."""
    written = file.write_at(offset, data)
    if written != len(data):
        raise OSError(f"short write: {written} of {len(data)} bytes at offset {offset}")


def replace_durably(files: Files, path: Path, content: bytes) -> None:
    """Make `path` hold exactly `content`, atomically and durably: write, sync, rename, sync directory."""
    scratch = path.with_name(path.name + ".new")
    files.remove(scratch)
    file = files.open(scratch)
    try:
        write_all(file, 0, content)
        file.sync()
    finally:
        file.close()
    files.rename(scratch, path)
    files.sync_directory(path.parent)
