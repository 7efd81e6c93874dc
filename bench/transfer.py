"""Watching a snapshot on its way from a leader to a node without one, by the files of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from bench.cluster import Cluster
from bench.processes import BenchFailed, wait_for

PATIENCE_S: Final = 1_200.0
_EVERY_S: Final = 0.05


class Transfer:
    """One snapshot to one node that was just started empty; seconds since then."""

    def __init__(self, cluster: Cluster, sender: str, receiver: str) -> None:
        self.receiver = receiver
        self.begun_s = time.monotonic()
        self._cluster = cluster
        self._copy = cluster.directory / sender / "raft" / "outgoing"
        self._incoming = cluster.directory / receiver / "raft" / "incoming"
        self.times: dict[str, float] = {}

    def until_copied(self) -> None:
        """Wait until the sender has made its copy."""
        self._wait("copying_s", self._copy.is_dir, "the leader to begin a copy")
        self._wait("copied_s", (self._copy / "description").exists, "the copy to be made")

    def until_part(self, share: float) -> None:
        """Wait until this share of it has arrived."""
        self._wait("part_s", lambda: self.arrived >= share * self.size, f"{share:.0%} of the snapshot to arrive")

    def until_ready(self) -> None:
        """Wait until it has arrived, is installed, and the node is at work."""
        self._wait("sent_s", lambda: self._is_installed() or 0 < self.size <= self.arrived, "the snapshot to arrive")
        self._wait("installed_s", self._is_installed, "the snapshot to be installed")
        self._wait("ready_s", self._is_ready, "the node to be at work")

    @property
    def size(self) -> int:
        """Bytes of the copy; 0 while there is none."""
        with suppress(OSError):
            return (self._copy / "copy.sqlite3").stat().st_size if (self._copy / "description").exists() else 0
        return 0

    @property
    def arrived(self) -> int:
        """Bytes that are at the receiver."""
        with suppress(OSError):
            return self._incoming.stat().st_size
        return 0

    def _is_installed(self) -> bool:
        status = self._cluster.status(self.receiver)
        return status is not None and status.first_index > 2 and not self._incoming.exists()

    def _is_ready(self) -> bool:
        status = self._cluster.status(self.receiver)
        return status is not None and status.ready

    def _wait(self, name: str, condition: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            for worker, process in self._cluster.workers.items():
                if not process.running:
                    raise BenchFailed(f"worker {worker} has ended:\n{process.tail()}")
            return condition()

        wait_for(look, what, PATIENCE_S, every_s=_EVERY_S)
        self.times[name] = time.monotonic() - self.begun_s


class Silence:
    """The longest time, in seconds, that a follower heard nothing of its leader, while it is watched."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._watched: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest_s = 0.0

    def watch(self, *names: str) -> None:
        """Watch these from now on; none while an election is to be expected."""
        self._watched = names

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            for name in self._watched:
                status = self._cluster.status(name)
                if status is not None and name in self._watched:
                    self.longest_s = max(self.longest_s, status.age_ms / 1_000)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
