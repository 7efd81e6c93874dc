"""Durations as people write them ("90s", "1h30m", "250ms"), and as code keeps them (milliseconds)."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

ACCEPTED: Final = 'numbers with units ms, s, m, h or d, largest first, such as "250ms", "30s", "1h30m" or "2d"'
MAX_MS: Final = 10 * 366 * 86_400_000
"""Ten years: longer is taken for a slip of the pen."""

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(ms|[dhms])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


class InvalidDuration(ValueError):
    """A text that is no duration, or one out of bounds; the message says what would be accepted."""


def parse_duration_ms(text: str, *, minimum_ms: int = 0, maximum_ms: int = MAX_MS) -> int:
    """Milliseconds of a duration text.

    Raises:
        InvalidDuration: not of the grammar, units repeated or out of order, or out of bounds.
    """
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise InvalidDuration(f"{text!r} is not a duration; accepted are {ACCEPTED}")
    parts = _PART.findall(text)
    sizes = [_UNITS_MS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise InvalidDuration(f"{text!r} repeats a unit or has them out of order; accepted are {ACCEPTED}")
    total = sum(Decimal(number) * _UNITS_MS[unit] for number, unit in parts)
    if total != int(total):
        raise InvalidDuration(f"{text!r} is finer than a millisecond; accepted are {ACCEPTED}")
    if not minimum_ms <= total <= maximum_ms:
        raise InvalidDuration(
            f"{text!r} is out of bounds; accepted are {format_duration(minimum_ms)} to {format_duration(maximum_ms)}"
        )
    return int(total)


@lru_cache(maxsize=1_000)
def format_duration(ms: int) -> str:
    """The canonical text: largest units first, none of them zero."""
    parts = []
    for unit, size in _UNITS_MS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
