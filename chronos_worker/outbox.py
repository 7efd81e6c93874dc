"""Results on their way into the log: proposed again until the rows show that they arrived."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from chronos_common.commands import Claim, RecordResults, Result

RESULTS_PER_COMMAND: Final = 500
GATHER_S: Final = 0.05
"""Results that are no full command leave no more often than this."""
_COMMAND_BYTES: Final = 160 * 1024
"""Upper bound of a command's estimated size, well under one entry."""
_RESULT_OVERHEAD: Final = 256


class Outbox:
    """What this life has to report. Nothing leaves it but by being seen applied.

    `patience_s`: how long a proposed result may stay unseen before it is proposed again.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._last_at_s = float("-inf")
        self._fresh: dict[tuple[int, int], Result] = {}
        self._proposed: dict[tuple[int, int], tuple[Result, float]] = {}

    def put(self, results: Iterable[Result]) -> None:
        """Results to report."""
        for result in results:
            self._fresh[result.execution_seq, result.number] = result

    def seen(self, execution_seq: int, number: int) -> None:
        """The log has it."""
        self._proposed.pop((execution_seq, number), None)
        self._fresh.pop((execution_seq, number), None)

    def holds(self, execution_seq: int, number: int) -> bool:
        """Whether the result of this attempt is still to be seen."""
        return (execution_seq, number) in self._fresh or (execution_seq, number) in self._proposed

    def clear(self) -> None:
        """The life these belong to is over; the cluster counts its attempts as lost."""
        self._fresh.clear()
        self._proposed.clear()

    def next_command(self, claim: Claim, now_s: float) -> RecordResults | None:
        """Some results to propose now, or None. Call `unsent` with it if it could not be proposed.

        A result after a silence leaves at once, those that follow it gather: each command costs every node a sync
        and a transaction, and competes with the fires for them.
        """
        if not self._fresh:
            self._recall_overdue(now_s)
        chosen, full = self._choose()
        if not chosen or (not full and self._gathers_s(now_s) > 0):
            return None
        self._last_at_s = now_s
        for result in chosen:
            key = (result.execution_seq, result.number)
            del self._fresh[key]
            self._proposed[key] = (result, now_s)
        return RecordResults(claim, tuple(chosen))

    def wait_s(self, now_s: float, longest_s: float) -> float:
        """How long until what gathers here is to leave; `longest_s` if nothing does, or it waits for the log."""
        gathers_s = self._gathers_s(now_s)
        return min(longest_s, gathers_s) if self._fresh and gathers_s > 0 else longest_s

    def unsent(self, command: RecordResults) -> None:
        """The log did not take this command; its results wait again."""
        for result in command.items:
            self._proposed.pop((result.execution_seq, result.number), None)
        self.put(command.items)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._proposed)

    def _gathers_s(self, now_s: float) -> float:
        return max(0.0, self._last_at_s + GATHER_S - now_s)

    def _choose(self) -> tuple[list[Result], bool]:
        """The oldest results that go into one command, and whether they fill it."""
        chosen: list[Result] = []
        size = 0
        for result in islice(self._fresh.values(), RESULTS_PER_COMMAND):
            size += _RESULT_OVERHEAD + len(result.response.body or "") * 4 + len(result.response.error or "") * 4
            if chosen and size > _COMMAND_BYTES:
                return chosen, True
            chosen.append(result)
        return chosen, len(chosen) == RESULTS_PER_COMMAND

    def _recall_overdue(self, now_s: float) -> None:
        # insertion order is proposal order: stop at the first that is still young
        overdue = []
        for key, (result, proposed_at) in self._proposed.items():
            if now_s - proposed_at < self._patience_s:
                break
            overdue.append((key, result))
        for key, result in overdue:
            del self._proposed[key]
            self._fresh[key] = result
