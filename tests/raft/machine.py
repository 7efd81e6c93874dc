"""A state machine small enough to compare: the list of entries it was given."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from chronos_worker.raft import Committed, SnapshotFile


class Machine:
    """Applies in memory; `make_durable` is its checkpoint, `crash` falls back to it."""

    def __init__(self) -> None:
        self.index, self.term = 0, 0
        self.entries: list[tuple[int, bytes]] = []
        self.installed: list[int] = []
        self.install_fails = False
        self._durable: tuple[int, int, list[tuple[int, bytes]]] = (0, 0, [])

    def apply(self, committed: list[Committed]) -> None:
        for entry in committed:
            if entry.index <= self.index:
                continue
            assert entry.index == max(self.index, 1) + 1, f"{entry.index} follows {self.index}"
            self.index, self.term = entry.index, entry.term
            if entry.data:
                self.entries.append((entry.index, entry.data))

    def make_durable(self) -> int:
        self._durable = (self.index, self.term, list(self.entries))
        return self.index

    def crash(self) -> None:
        self.index, self.term, entries = self._durable
        self.entries = list(entries)

    # -- `StateMachineSnapshots` --------------------------------------------------------------------------

    def applied(self) -> tuple[int, int]:
        return self.index, self.term

    def save(self, directory: Path) -> SnapshotFile:
        content = msgspec.msgpack.encode((self.index, self.term, self.entries))
        path = directory / "copy"
        path.write_bytes(content)
        return SnapshotFile(path, self.index, self.term, len(content), hashlib.sha256(content).hexdigest())

    def install(self, file: Path, index: int, term: int) -> None:
        if self.install_fails:
            raise ValueError("this copy is not what it should be")
        found_index, found_term, entries = msgspec.msgpack.decode(file.read_bytes())
        assert (found_index, found_term) == (index, term)
        self.index, self.term = index, term
        self.entries = [(number, data) for number, data in entries]
        self.installed.append(index)
        self.make_durable()
