"""Whether this node was out of touch, so that what it is given may have been somebody else's for long."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from chronos_common.commands import Barrier, Claim, Command
from chronos_worker.raft import LogStatus
from chronos_worker.state_machine.effects import Aborted, Assigned

PATIENCE_S: Final = 1.0
"""How long a barrier may stay unseen before another one is proposed."""


class Absence:
    """Keeps back what a node is given after it has heard nothing for long, until it knows what happened meanwhile.

    A process that slept for 20 s first does what it was about to do, and reads what its peers had said to it before
    they gave it up. The attempts it was given there have been declared lost and given to others, but that comes later
    in the log. So it proposes a barrier, and begins nothing before that has come back: whatever was decided in its
    absence stands before it. One that took so long that the absence may have gone on behind it proves nothing.

    `bound_s` is the longest silence that is no absence, well below that after which a node is declared lost.
    """

    def __init__(self, bound_s: float, now_s: float) -> None:
        self._bound_s = bound_s
        self._in_touch_at_s = now_s
        self._count = 0
        self._absent: Claim | None = None
        """The life that was absent and does not know yet what happened meanwhile."""
        self._asked: dict[str, float] = {}
        """The barriers under way, and when each was proposed."""
        self._kept: dict[tuple[int, int], Assigned] = {}

    def noticed(self, now_s: float, claim: Claim | None) -> float | None:
        """How many seconds an absence took, when it shows; to be called right before anything is to begin.

        Who has no life is given nothing, and need not ask.
        """
        silent_s = now_s - self._in_touch_at_s
        if self._absent is not None or claim is None or silent_s <= self._bound_s:
            return None
        self._absent = claim
        return silent_s

    def admit(self, assigned: Iterable[Assigned], aborted: Iterable[Aborted]) -> list[Assigned]:
        """What is to begin now, of this and of what was kept back. What is aborted before it began never begins."""
        self._kept.update(((item.execution_seq, item.number), item) for item in assigned)
        for item in aborted:
            self._kept.pop(item, None)
        if self._absent is not None:
            return []
        ready = list(self._kept.values())
        self._kept.clear()
        return ready

    def forget(self) -> None:
        """Nothing that was kept back counts any more: other rows came, or another life."""
        self._kept.clear()

    def ask(self, now_s: float) -> list[Command]:
        """A barrier, and another one as long as none has come back."""
        if self._absent is None or now_s < max(self._asked.values(), default=-math.inf) + PATIENCE_S:
            return []
        self._count += 1
        token = f"absence of {self._absent.node_id}, {self._absent.incarnation}.{self._count}"
        self._asked = {asked: at_s for asked, at_s in self._asked.items() if now_s <= at_s + self._bound_s}
        self._asked[token] = now_s
        return [Barrier(token)]

    def reached(self, token: str, now_s: float) -> None:
        """A barrier was applied."""
        if now_s <= self._asked.get(token, -math.inf) + self._bound_s:
            self._absent = None
            self._asked.clear()

    def heard(self, status: LogStatus, now_s: float) -> None:
        """Note when the leader was last heard. One that leads itself steps down once it does not hear the others."""
        silent_s = 0.0 if status.role == "leader" else status.peers_contact.get(status.leader_id or "", math.inf)
        self._in_touch_at_s = max(self._in_touch_at_s, now_s - silent_s)
