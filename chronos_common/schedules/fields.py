"""Reading a cron expression into sets, with hints for what people commonly get wrong.

croniter expands the fields; what it lets through although crontab(5) does not (random and hashed fields,
ranges written backwards, years, `?`) is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from croniter import CroniterError, croniter

from chronos_common.schedules.errors import InvalidSchedule

WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FORMS: Final = (
    "use five fields (minute hour day-of-month month day-of-week), six with seconds first, "
    '"@daily" and its kin, "@every 30m", or "@at 2030-01-01T09:00:00"'
)
LAST_DAY: Final = -1
"""Stands for `L` among the days of a month."""

_NAMES: Final = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_RANGES: Final = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS: Final = "sun mon tue wed thu fri sat".split()
_ITEM: Final = re.compile(r"(\*|[0-9]+|[a-z]{3}|l)(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?", re.IGNORECASE)
_FIVE, _SIX = 5, 6


@dataclass(frozen=True)
class Fields:
    """A cron expression as sorted tuples. `days` may hold LAST_DAY; weekdays count from Sunday = 0.

    `days_open`, `weekdays_open`: the field begins with `*`, so it does not restrict by itself: a day must
    then match both fields. If both restrict, matching either is enough (crontab(5)).
    `elapsed`: the hour is a wildcard, so the job runs by elapsed time through changes of the clock.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    days_open: bool
    weekdays_open: bool
    elapsed: bool
    texts: tuple[str, ...]
    """The six field texts, seconds first."""


def parse_fields(text: str, *, allow_seconds: bool = True) -> Fields:
    """The fields of an expression of five or six fields, or of a word such as `@daily`.

    Raises:
        InvalidSchedule: naming the field, its value and what would be accepted.
    """
    texts = WORDS.get(text, text).split()
    _check_count(text, texts, allow_seconds=allow_seconds)
    if len(texts) == _FIVE:
        texts = ["0", *texts]
    texts = [_checked(field, position) for position, field in enumerate(texts)]
    try:
        expanded, _ = croniter.expand(" ".join(texts), second_at_beginning=True)
    except (CroniterError, ValueError) as error:
        raise InvalidSchedule(f"{text!r} is not a cron expression: {error}", FORMS) from error
    minutes, hours, days, months, weekdays, seconds = (
        _numbers(values, *limits)
        for values, limits in zip(expanded, (*_RANGES[1:5], (0, 6), _RANGES[0]), strict=True)
    )
    return Fields(
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        days_open=texts[3].startswith("*"),
        weekdays_open=texts[5].startswith("*"),
        elapsed=texts[2].startswith("*") or len(hours) == 24,  # noqa: PLR2004 - hours of a day
        texts=tuple(texts),
    )


def _check_count(text: str, texts: list[str], *, allow_seconds: bool) -> None:
    if len(texts) == _SIX and not allow_seconds:
        raise InvalidSchedule(
            f"{text!r} has six fields where five are expected",
            f"it looks like an expression with seconds: without them it would be {' '.join(texts[1:])!r}",
        )
    if len(texts) == _SIX + 1:
        raise InvalidSchedule(f"{text!r} has seven fields", "years are not supported; leave the last field out")
    if len(texts) not in (_FIVE, _SIX):
        raise InvalidSchedule(f"{text!r} has {len(texts)} fields", FORMS)


def _checked(field: str, position: int) -> str:
    """The field as croniter reads it rightly: a range of one (`5-5`) it would take for any value."""
    name, (low, high) = _NAMES[position], _RANGES[position]
    if "?" in field:
        raise InvalidSchedule(f"{name} is {field!r}", "'?' is Quartz's sign for any value; write '*'")
    items = field.split(",")
    for number, item in enumerate(items):
        matched = _ITEM.fullmatch(item)
        if matched is None:
            raise InvalidSchedule(
                f"{name} is {field!r}, and {item!r} is neither a number, a name, a range, a step nor '*'",
                f"{name} takes {low}-{high}, lists (1,2), ranges (1-5) and steps (*/5)",
            )
        first, last, step = matched.groups()
        if step is not None and int(step) == 0:
            raise InvalidSchedule(f"{name} is {field!r}, with a step of 0", "a step is 1 or more")
        if first.lower() == "l" and (position != 3 or last or step):  # noqa: PLR2004 - day-of-month
            raise InvalidSchedule(f"{name} is {field!r}", "'L' (the last day) stands alone in day-of-month only")
        start, end = _number(first, position, field), _number(last, position, field)
        if start is not None and end is not None and start > end and not (position == 5 and end == 0):  # noqa: PLR2004
            raise InvalidSchedule(
                f"{name} is {field!r}, a range that runs backwards",
                f"write it as two: {start}-{high},{low}-{end}",
            )
        if start is not None and start == end:
            items[number] = first
    return ",".join(items)


def _number(text: str | None, position: int, field: str) -> int | None:
    """The number of one end of a range; None for `*`, `L` or nothing."""
    if text is None or text in ("*", "l", "L"):
        return None
    name, (low, high) = _NAMES[position], _RANGES[position]
    if not text.isdecimal():
        names = {4: _MONTHS, 5: _DAYS}.get(position, [])
        if text.lower() in names:
            return names.index(text.lower()) + (1 if position == 4 else 0)  # noqa: PLR2004 - months count from 1
        near = get_close_matches(text.lower(), names, n=1, cutoff=0.3)
        hint = f"did you mean {near[0].upper()}?" if near else f"{name} takes {low}-{high}"
        raise InvalidSchedule(f"{name} is {field!r}, and {text!r} is not a name it knows", hint)
    if not low <= int(text) <= high:
        raise InvalidSchedule(f"{name} is {field!r}, and {text} is out of range", f"{name} takes {low}-{high}")
    return int(text)


def _numbers(values: Sequence[int | str], low: int, high: int) -> tuple[int, ...]:
    if "*" in values:  # alone, or among others as in `*,MON`
        return tuple(range(low, high + 1))
    return tuple(sorted({LAST_DAY if value == "l" else int(value) for value in values}))
