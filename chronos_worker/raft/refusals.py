"""What the port refused: counted by reason for ever, told in words as long as it goes on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TOLD_S: Final = 60.0
"""A problem that did not come back within this many seconds is no longer told."""

_log = structlog.get_logger("chronos.raft")


class Refusals:
    """Members always have a place for their problem; strangers share `max_strangers`."""

    def __init__(self, clock: Callable[[], float], max_strangers: int) -> None:
        self._members: frozenset[str] = frozenset()
        self._clock = clock
        self._max_strangers = max_strangers
        self._counts: Counter[str] = Counter()
        self._problems: dict[str, tuple[str, float]] = {}

    def configure(self, members: Collection[str]) -> None:
        """These always have a place from now on."""
        self._members = frozenset(members)

    def note(self, reason: str, subject: str, text: str) -> None:
        """Count it, and log it once per `subject` (a member's id or a host) while it is told.

        What is new about a member is logged again; a stranger could fill the disk by saying ever new things.
        """
        self._counts[reason] += 1
        told = self.problems()
        if subject in told or subject in self._members or len(told) < self._max_strangers + len(self._members):
            self._problems[subject] = text, self._clock()
            if subject not in told or (subject in self._members and told[subject] != text):
                _log.warning("raft_link_refused", peer=subject, reason=reason, detail=text)

    def settled(self, *subjects: str) -> None:
        """A link stands: nothing is wrong with these any more."""
        for subject in subjects:
            self._problems.pop(subject, None)

    def counts(self) -> dict[str, int]:
        """Return how much was refused, by reason."""
        return dict(self._counts)

    def problems(self) -> dict[str, str]:
        """Return, per member or host, why it was refused of late."""
        since = self._clock() - TOLD_S
        self._problems = {subject: told for subject, told in self._problems.items() if told[1] >= since}
        return {subject: text for subject, (text, _) in self._problems.items()}
