"""Walking the wall clock: the next local time that a cron expression names. Knows no zones."""

from __future__ import annotations

import calendar
import datetime
from bisect import bisect_left
from typing import Final

from chronos_common.schedules.fields import LAST_DAY, Fields
from chronos_common.schedules.zones import from_seconds, to_seconds

HORIZON_YEARS: Final = 41
"""An expression with no match for this long has none.

The rarest day an expression can name is 29 February on given weekdays. The calendar repeats every 28
years inside a century, and 12 more years pass around one that is no leap year, such as 2100.
"""
_DAY: Final = datetime.timedelta(days=1)


def matches(fields: Fields, local_s: int) -> bool:
    """Whether the wall clock showing `local_s` is named by the expression."""
    local = from_seconds(local_s)
    return (
        local.second in fields.seconds
        and local.minute in fields.minutes
        and local.hour in fields.hours
        and _day_matches(fields, local.date())
    )


def next_local(fields: Fields, local_s: int) -> int | None:
    """The first wall clock reading after `local_s` that the expression names; None beyond the horizon."""
    start = from_seconds(local_s + 1)
    day, time = start.date(), (start.hour, start.minute, start.second)
    last_year = day.year + HORIZON_YEARS
    while day.year <= last_year:
        if day.month not in fields.months:
            day, time = _first_of_next_month(day), (0, 0, 0)
            continue
        if _day_matches(fields, day) and (found := _time_from(fields, time)) is not None:
            return to_seconds(datetime.datetime.combine(day, datetime.time(*found)))
        day, time = day + _DAY, (0, 0, 0)
    return None


def _day_matches(fields: Fields, day: datetime.date) -> bool:
    if day.month not in fields.months:
        return False
    by_month = day.day in fields.days or (LAST_DAY in fields.days and _is_last(day))
    by_week = day.isoweekday() % 7 in fields.weekdays
    if fields.days_open or fields.weekdays_open:
        return by_month and by_week
    return by_month or by_week


def _time_from(fields: Fields, time: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """The first time of day at or after `time` that the expression names."""
    hour, minute, second = time
    at_hour = bisect_left(fields.hours, hour)
    if at_hour == len(fields.hours):
        return None
    if fields.hours[at_hour] != hour:
        return fields.hours[at_hour], fields.minutes[0], fields.seconds[0]
    at_minute = bisect_left(fields.minutes, minute)
    if at_minute < len(fields.minutes) and fields.minutes[at_minute] == minute:
        at_second = bisect_left(fields.seconds, second)
        if at_second < len(fields.seconds):
            return hour, minute, fields.seconds[at_second]
        at_minute += 1
    if at_minute < len(fields.minutes):
        return hour, fields.minutes[at_minute], fields.seconds[0]
    if at_hour + 1 < len(fields.hours):
        return fields.hours[at_hour + 1], fields.minutes[0], fields.seconds[0]
    return None


def _is_last(day: datetime.date) -> bool:
    return day.day == calendar.monthrange(day.year, day.month)[1]


def _first_of_next_month(day: datetime.date) -> datetime.date:
    return datetime.date(day.year + day.month // 12, day.month % 12 + 1, 1)
