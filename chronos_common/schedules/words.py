"""Cron expressions in plain English: plain statements joined, never clever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chronos_common.schedules.fields import LAST_DAY, Fields

_MONTHS: Final = "January February March April May June July August September October November December".split()
_DAYS: Final = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
_MANY_TIMES: Final = 6
"""More clock times than this are described by their fields instead of listed."""


def describe_cron(fields: Fields, timezone: str) -> str:
    """What the expression says, field by field."""
    parts = [_time(fields), _days(fields)]
    if len(fields.months) < len(_MONTHS):
        parts.append("in " + _names(sorted(fields.months), lambda month: _MONTHS[month - 1]))
    sentence = ", ".join(part for part in parts if part)
    return f"{sentence[0].upper()}{sentence[1:]}, in {timezone}"


def _time(fields: Fields) -> str:
    seconds, minutes, hours = fields.seconds, fields.minutes, fields.hours
    if not fields.elapsed and len(seconds) * len(minutes) * len(hours) <= _MANY_TIMES:
        clock = [(h, m, s) for h in hours for m in minutes for s in seconds]
        return "at " + _join([f"{h:02}:{m:02}" + (f":{s:02}" if seconds != (0,) else "") for h, m, s in clock])
    _, minute_text, hour_text = fields.texts[:3]
    pieces = []
    if seconds != (0,):
        pieces.append(_each(fields.texts[0], seconds, "second", "minute"))
    if minute_text != "*" or seconds == (0,):
        pieces.append(_each(minute_text, minutes, "minute", "hour"))
    if hour_text != "*":
        pieces.append(_each(hour_text, hours, "hour", "day"))
    return " of ".join(pieces)


def _each(text: str, values: tuple[int, ...], unit: str, whole: str) -> str:
    if text == "*":
        return f"every {unit}"
    if text.startswith("*/") and text[2:].isdecimal():
        return f"every {text[2:]} {unit}s from {unit} 0" if int(text[2:]) > 1 else f"every {unit}"
    named = _runs(values)
    if unit == "hour":
        return f"hour{'s' if len(values) > 1 else ''} {named}"
    return (
        f"{unit}{'s' if len(values) > 1 else ''} {named} of every {whole}" if whole == "hour" else f"{unit} {named}"
    )


def _days(fields: Fields) -> str:
    by_month = "" if fields.texts[3] == "*" else _month_days(fields)
    any_day = fields.weekdays_open and len(fields.weekdays) == len(_DAYS)
    by_week = "" if any_day else "on " + _names(sorted(fields.weekdays), lambda day: _DAYS[day])
    if not by_month or not by_week:
        return by_month or by_week
    return f"{by_month} {'if it is also' if fields.days_open or fields.weekdays_open else 'or'} {by_week}"


def _month_days(fields: Fields) -> str:
    numbers = tuple(sorted(day for day in fields.days if day != LAST_DAY))
    parts = [f"day{'s' if len(numbers) > 1 else ''} {_runs(numbers)}"] if numbers else []
    if LAST_DAY in fields.days:
        parts.append("the last day")
    return f"on {' and '.join(parts)} of the month"


def _names(values: list[int], name: Callable[[int], str]) -> str:
    runs = _group(tuple(values))
    return _join([name(a) if a == b else f"{name(a)} to {name(b)}" for a, b in runs])


def _runs(values: tuple[int, ...]) -> str:
    return _join([str(a) if a == b else f"{a} to {b}" for a, b in _group(values)])


def _group(values: tuple[int, ...]) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, last); runs of two stay apart."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    apart: list[tuple[int, int]] = []
    for first, last in runs:
        apart += [(first, first), (last, last)] if last == first + 1 else [(first, last)]
    return apart


def _join(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
