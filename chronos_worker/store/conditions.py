"""A WHERE clause that grows: conditions and their parameters kept together."""

from __future__ import annotations

from typing import Any


class Conditions:
    """Conditions that must all hold. Texts are constants of ours; values only ever travel as parameters."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._values: list[Any] = []

    def add(self, text: str, *values: Any) -> None:
        """One more condition, with a `?` for each value."""
        self._texts.append(text)
        self._values.extend(values)

    def add_if(self, text: str, value: Any) -> None:
        """One more condition unless its value is None."""
        if value is not None:
            self.add(text, value)

    def where(self) -> str:
        """The clause, or nothing."""
        return f" WHERE {' AND '.join(self._texts)}" if self._texts else ""

    def values(self, *more: Any) -> tuple[Any, ...]:
        """The parameters in order, then `more`."""
        return (*self._values, *more)
