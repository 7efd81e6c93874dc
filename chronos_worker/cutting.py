"""When the log is cut, and how far: behind the rows that survive a power cut (docs/adr/0012)."""

from __future__ import annotations

from typing import Final, Protocol

from chronos_common.clock import Clock
from chronos_worker.raft import LogStatus, ReplicatedLog

JOURNAL_BOUND_BYTES: Final = 32 << 20
"""The journal is cut once it is longer than this."""


class Checkpoints(Protocol):
    """Who makes the rows durable, beside the node."""

    def ask(self) -> None:
        """Have everything applied until now made durable, soon."""

    @property
    def durable_index(self) -> int:
        """The applied index that survives power loss, as far as was asked for. Raises what failed."""


class Cutting:
    """Cuts the log when that is wanted or it is long. `at_s` says when it last did, or began to watch (monotonic)."""

    def __init__(self, log: ReplicatedLog, checkpoints: Checkpoints, clock: Clock) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._clock = clock
        self._wanted = False
        self._asked_for: int | None = None
        """What has to be durable before the log is cut."""
        self.at_s = clock.monotonic_s()

    def want(self) -> None:
        """Cut it at one of the next steps, however short it is. Safe from any thread."""
        self._wanted = True

    def step(self, status: LogStatus, applied_index: int) -> None:
        """Ask for what is applied to be durable, or cut behind it once it is. Raises what a checkpoint met."""
        if self._asked_for is None and (self._wanted or status.journal_bytes > JOURNAL_BOUND_BYTES):
            self._wanted = False
            self._asked_for = applied_index
            self._checkpoints.ask()
        durable_index = self._checkpoints.durable_index
        if self._asked_for is not None and durable_index >= self._asked_for:
            self._asked_for = None
            self._log.compact(durable_index)
            self.at_s = self._clock.monotonic_s()
