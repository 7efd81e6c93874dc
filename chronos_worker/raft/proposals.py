"""Entries that wait for the next turn: bounded, and never kept for a later leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chronos_worker.raft.errors import EntryTooLarge, QueueFull
from chronos_worker.raft.interface import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    from chronos_worker.raft.config import Limits


class Proposals:
    """A bounded queue of entries, emptied at every turn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: list[bytes] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, data: bytes) -> None:
        """Add one entry.

        Raises:
            EntryTooLarge: it is empty or longer than MAX_ENTRY_BYTES.
            QueueFull: the queue is at its bound.
        """
        if not 0 < len(data) <= MAX_ENTRY_BYTES:
            raise EntryTooLarge(f"an entry of {len(data)} bytes; 1 to {MAX_ENTRY_BYTES} are accepted")
        if len(self._waiting) >= self._limits.queue_entries:
            raise QueueFull(f"{len(self._waiting)} entries wait already, the bound is {self._limits.queue_entries}")
        if self._bytes + len(data) > self._limits.queue_bytes:
            raise QueueFull(f"{self._bytes} bytes wait already, the bound is {self._limits.queue_bytes}")
        self._waiting.append(data)
        self._bytes += len(data)

    def take(self) -> list[bytes]:
        """Return all and forget them."""
        taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken
