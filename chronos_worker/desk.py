"""Where other threads meet the node: clients' proposals and barriers queue here and get their answers here."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from chronos_common.protocol import Busy, NotLeader, Outcome, Pending, Proposal, ProposeReply

MAX_WAITING: Final = 2_000
"""Most callers waiting at once; a further one is told to come back."""


class Slip:
    """One caller's wait for one answer."""

    def __init__(self, key: str, proposal: Proposal | None) -> None:
        self.key = key
        self.proposal = proposal
        """None: only a barrier."""
        self.proposed_at: float | None = None
        self.abandoned = False
        self._done = threading.Event()
        self.reply: ProposeReply | None = None

    def answer(self, reply: ProposeReply) -> None:
        """Give the caller its answer; the first one counts."""
        if self.reply is None:
            self.reply = reply
            self._done.set()

    def wait(self, timeout_s: float) -> ProposeReply | None:
        """The answer, or None if it did not come in time."""
        self._done.wait(timeout_s)
        return self.reply


class Desk:
    """Thread-safe towards callers; `take`, `answer` and `turn_away` belong to the node's thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._arrived: deque[Slip] = deque()
        self._waiting: dict[str, list[Slip]] = {}
        self._count = 0

    def propose(self, proposal: Proposal) -> ProposeReply:
        """Have a change made and wait for its outcome. Blocks for `wait_ms` at most."""
        slip = self.admit(proposal)
        if isinstance(slip, Busy):
            return slip
        reply = slip.wait(proposal.wait_ms / 1_000)
        if reply is None:
            slip.abandoned = True
            self._forget(slip)
            return Pending("not confirmed in time; the outcome is unknown")
        return reply

    def admit(self, proposal: Proposal) -> Slip | Busy:
        """Queue a change; its slip gets the outcome."""
        slip = Slip(proposal.command_id, proposal)
        if not self._admit(slip):
            return Busy(1_000, f"more than {MAX_WAITING} requests are waiting on this worker")
        return slip

    def barrier(self, token: str, timeout_s: float) -> int | None:
        """Wait until everything committed before now is applied here; the index, or None if not in time."""
        slip = Slip(token, None)
        if not self._admit(slip):
            return None
        reply = slip.wait(timeout_s)
        if not isinstance(reply, Outcome):
            self._forget(slip)
            return None
        return reply.index

    def take(self, limit: int) -> list[Slip]:
        """The oldest requests not yet proposed; each now waits for `answer`."""
        with self._lock:
            taken = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
            taken = [slip for slip in taken if not slip.abandoned]
            for slip in taken:
                self._waiting.setdefault(slip.key, []).append(slip)
        return taken

    def answer(self, key: str, outcome: Outcome) -> None:
        """A command was applied: whoever waits for it hears."""
        with self._lock:
            slips = self._waiting.pop(key, [])
            self._count -= len(slips)
        for slip in slips:
            slip.answer(outcome)

    def turn_away(self, slip: Slip, reply: NotLeader | Busy) -> None:
        """A request was not proposed; its caller may try elsewhere or later."""
        self._forget(slip)
        slip.answer(reply)

    @property
    def waiting(self) -> int:
        """Callers who have no answer yet."""
        return self._count

    def _admit(self, slip: Slip) -> bool:
        with self._lock:
            if self._count >= MAX_WAITING:
                return False
            self._count += 1
            self._arrived.append(slip)
        self._wake()
        return True

    def _forget(self, slip: Slip) -> None:
        with self._lock:
            if slip in self._arrived:
                self._arrived.remove(slip)
                self._count -= 1
                return
            slips = self._waiting.get(slip.key, [])
            if slip in slips:
                slips.remove(slip)
                self._count -= 1
                if not slips:
                    del self._waiting[slip.key]
