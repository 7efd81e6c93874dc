"""The network of a cluster of one: no port, no peers, only a wait that `wake` ends."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from chronos_worker.raft.wakeup import Wakeup

if TYPE_CHECKING:
    from chronos_worker.raft.membership import Agreed
    from chronos_worker.raft.messages import Message
    from chronos_worker.raft.network import Receiver


class LoneNetwork:
    """`Network` without members."""

    def __init__(self) -> None:
        self._wakeup = Wakeup()

    def attach(self, receiver: Receiver) -> None:
        """Nobody will ever call."""

    def configure(self, _agreed: Agreed, _staying: frozenset[str]) -> None:
        """There is nobody to find."""

    def poll(self, timeout_s: float) -> None:
        """Wait for `wake`."""
        readable, _, _ = select.select([self._wakeup], [], [], timeout_s)
        if readable:
            self._wakeup.clear()

    def send(self, _peer: str, _message: Message) -> bool:
        """There is nobody to send to."""
        return False

    def flush(self) -> None:
        """Nothing is queued."""

    def is_connected(self, _peer: str) -> bool:
        """There is nobody."""
        return False

    def last_heard(self) -> dict[str, float]:
        """There is nobody."""
        return {}

    def rejected(self) -> dict[str, int]:
        """Nothing comes in."""
        return {}

    def problems(self) -> dict[str, str]:
        """Nothing goes wrong."""
        return {}

    def wake(self) -> None:
        """End the wait."""
        self._wakeup.set()

    def close(self) -> None:
        """Close the wake-up sockets."""
        self._wakeup.close()
