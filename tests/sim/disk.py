"""A disk that forgets: real files beneath, with a memory of what was never synced.

`crash` gives back what a machine may find after a power cut: un-synced writes survive in part, in any
combination, possibly torn; un-synced names (creations, renames, removals) survive as a prefix, in order, as on a
journalling file system. Everything synced stays.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


class Crashed(Exception):
    """The machine stopped in the middle of a file operation."""


@dataclass
class _Write:
    """One un-synced change: `data` at `offset`, or a truncation to `offset` when None; and how to undo it."""

    offset: int
    data: bytes | None
    overwritten: bytes
    old_size: int


@dataclass(eq=False)
class _Inode:
    unsynced: list[_Write] = field(default_factory=list)


class SimFile:
    """An open file; see `chronos_worker.raft.files.File`."""

    def __init__(self, disk: SimDisk, path: Path, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self.fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._live(), size, offset)

    def write_at(self, offset: int, data: bytes) -> int:
        fd = self._live()
        data = self._disk.before_write(data)
        old = os.pread(fd, len(data), offset)
        self._inode.unsynced.append(_Write(offset, data, old, self.size()))
        written = os.pwrite(fd, data, offset)
        self._disk.after_write()
        return written

    def truncate(self, size: int) -> None:
        fd = self._live()
        self._disk.step()
        tail = os.pread(fd, max(self.size() - size, 0), size)
        self._inode.unsynced.append(_Write(size, None, tail, self.size()))
        os.ftruncate(fd, size)

    def sync(self) -> None:
        self._live()
        self._disk.step()
        if self._disk.sync_fails:
            raise OSError(errno.EIO, "the disk failed to sync")
        self._inode.unsynced.clear()

    def size(self) -> int:
        return os.fstat(self._live()).st_size

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
            self._disk.forget(self)

    def let_go(self) -> None:
        self.close()

    def _live(self) -> int:
        if self.fd is None:
            raise Crashed("the file was closed by a crash")
        return self.fd


class SimDisk:
    """See `chronos_worker.raft.files.Files`.

    `crash_at` stops the machine at that mutating operation, counted from 1. `room` is how many more bytes
    fit, None for plenty. `sync_fails` makes every sync fail.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random(0)
        self._inodes: dict[Path, _Inode] = {}
        self._open: set[SimFile] = set()
        self._names: list[Callable[[], None]] = []
        self.operations = 0
        self.crash_at: int | None = None
        self.room: int | None = None
        self.sync_fails = False
        self._tear = False

    # -- `Files` ------------------------------------------------------------------------------------------

    def open(self, path: Path) -> SimFile:
        if not path.exists():
            self.step()
            path.touch()
            self._names.append(lambda: path.unlink(missing_ok=True))
        file = SimFile(self, path, self._inodes.setdefault(path, _Inode()))
        self._open.add(file)
        return file

    def exists(self, path: Path) -> bool:
        return path.exists()

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        self.step()
        old = target.read_bytes() if target.exists() else None
        source.rename(target)
        moved = self._inodes.pop(source, _Inode())
        replaced = self._inodes.pop(target, _Inode())
        self._inodes[target] = moved

        def undo() -> None:
            target.rename(source)
            if old is not None:
                target.write_bytes(old)
            self._inodes[source], self._inodes[target] = moved, replaced

        self._names.append(undo)

    def remove(self, path: Path) -> None:
        if path.exists():
            self.step()
            old = path.read_bytes()
            path.unlink()
            self._inodes.pop(path, None)
            self._names.append(lambda: path.write_bytes(old) and None)

    def sync_directory(self, path: Path) -> None:
        self.step()
        if self.sync_fails:
            raise OSError(errno.EIO, "the disk failed to sync")
        self._names.clear()

    def lock(self, path: Path) -> SimFile:
        file = SimFile(self, path, _Inode())
        self._open.add(file)
        return file

    # -- faults -------------------------------------------------------------------------------------------

    def step(self) -> None:
        self.operations += 1
        if self.crash_at is not None and self.operations >= self.crash_at:
            raise Crashed(f"at operation {self.operations}")

    def before_write(self, data: bytes) -> bytes:
        self.operations += 1
        if self.crash_at is not None and self.operations >= self.crash_at:
            self._tear = True
            return data[: self._random.randrange(len(data) + 1)]
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            data = data[: self.room]
            self.room -= len(data)
        return data

    def after_write(self) -> None:
        if self._tear:
            raise Crashed(f"in the write at operation {self.operations}")

    def forget(self, file: SimFile) -> None:
        self._open.discard(file)

    def crash(self) -> None:
        """Cut the power and come back with what may be left."""
        for file in list(self._open):
            file.close()
        # In order of names, so that one seed gives one outcome.
        for path, inode in sorted(self._inodes.items()):
            if inode.unsynced and path.exists():
                self._forget_writes(path, inode.unsynced)
            inode.unsynced = []
        keep = self._random.randrange(len(self._names) + 1)
        for undo in reversed(self._names[keep:]):
            undo()
        self._names.clear()
        self._inodes.clear()
        self.crash_at, self.room, self.sync_fails, self._tear = None, None, False, False

    def kill(self) -> None:
        """Stop the process only: the page cache keeps every write."""
        for file in list(self._open):
            file.close()
        for inode in self._inodes.values():
            inode.unsynced = []
        self._names.clear()
        self.crash_at, self.room, self.sync_fails, self._tear = None, None, False, False

    def _forget_writes(self, path: Path, writes: list[_Write]) -> None:
        content = bytearray(path.read_bytes())
        for write in reversed(writes):
            end = write.offset + len(write.overwritten)
            content[write.offset : end] = write.overwritten
            del content[write.old_size :]
        survival = self._random.choice([0.0, 0.5, 1.0])
        for write in writes:
            if self._random.random() >= survival:
                continue
            if write.data is None:
                del content[write.offset :]
                continue
            torn = write.data
            if self._random.random() < 0.3:
                torn = torn[: self._random.randrange(len(torn) + 1)]
            content.extend(bytes(max(write.offset - len(content), 0)))
            content[write.offset : write.offset + len(torn)] = torn
        path.write_bytes(content)
