"""What can be wrong with a schedule, in words for the person who wrote it."""

from __future__ import annotations


class InvalidSchedule(ValueError):
    """A schedule text nobody can follow. `problem` says why, `hint` what would be accepted."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}; {hint}")
        self.problem = problem
        self.hint = hint


class InvalidTimezone(ValueError):
    """A name the IANA time zone database does not know. `nearest` are names like it."""

    def __init__(self, name: object, nearest: list[str]) -> None:
        offer = f"did you mean {', '.join(nearest)}?" if nearest else "use an IANA name such as Europe/Berlin or UTC"
        super().__init__(f"{name!r} is not a time zone; {offer}")
        self.nearest = nearest
