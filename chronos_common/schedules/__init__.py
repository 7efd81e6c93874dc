"""When a job is due: schedules as pure functions of an instant. No clock is read here.

Instants are milliseconds since the epoch, UTC. `docs/schedules.md` states the rules for users.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from chronos_common.durations import InvalidDuration, format_duration, parse_duration_ms
from chronos_common.schedules.calendar import HORIZON_YEARS, matches
from chronos_common.schedules.cron import CronSchedule, dst_mark
from chronos_common.schedules.errors import InvalidSchedule, InvalidTimezone
from chronos_common.schedules.fields import FORMS, WORDS, parse_fields
from chronos_common.schedules.fixed import EverySchedule, OnceSchedule
from chronos_common.schedules.words import describe_cron
from chronos_common.schedules.zones import local_text, offset_at, zone

__all__ = [
    "InvalidSchedule",
    "InvalidTimezone",
    "Schedule",
    "Upcoming",
    "describe",
    "parse_schedule",
    "upcoming",
]

MAX_TEXT: Final = 200
MIN_PERIOD_MS: Final = 1_000
_SOME_DAY_MS: Final = 946_684_800_000
"""2000-01-01: from here on an expression must match at least once within the horizon."""
_FIRST_AT: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST_AT: Final = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)
"""Past the year 9999 no calendar here goes, and zones ahead of UTC are there a day earlier."""
_AT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?")


class Schedule(Protocol):
    """When a job is due. `anchor` is the origin of `@every`; the other kinds do not use it."""

    text: str
    timezone: str

    @property
    def kind(self) -> str:
        """One of cron, every, once."""

    def next_after(self, instant: int, anchor: int) -> int | None:
        """The first fire time strictly after an instant; None if there is none any more."""

    def last_at_or_before(self, instant: int, anchor: int) -> int | None:
        """The last fire time not after an instant; None if there was none."""

    def count_between(self, after: int, until: int, anchor: int, limit: int) -> int:
        """How many fire times lie in (after, until]; counting stops at limit + 1."""


class Upcoming(NamedTuple):
    """A coming fire time: the instant, how a clock in the job's zone shows it, and what the clock change did.

    `dst`: "gap" if the named time does not exist that day and the run was moved to the jump, "fold" if the
    clock shows this time twice, else None.
    """

    fire_time: int
    local: str
    dst: str | None


@lru_cache(maxsize=20_000)
def parse_schedule(text: str, timezone: str, *, allow_seconds: bool = True) -> Schedule:
    """The schedule a text names, in a time zone. Equal texts share one object.

    Raises:
        InvalidSchedule: the text is of none of the forms, or names no time that ever comes.
        InvalidTimezone: there is no such zone.
    """
    tz = zone(timezone)
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidSchedule(f"{text!r} is not a schedule", FORMS)
    text = text.strip()
    word, _, rest = text.partition(" ")
    if word == "@every":
        return EverySchedule(text, timezone, _period(text, rest.strip()))
    if word == "@at":
        return OnceSchedule(text, timezone, _instant(text, rest.strip(), tz))
    if text.startswith("@") and text not in WORDS:
        raise _unknown_word(text)
    schedule = CronSchedule(text, timezone, parse_fields(text, allow_seconds=allow_seconds), tz)
    if schedule.next_after(_SOME_DAY_MS, 0) is None:
        raise InvalidSchedule(
            f"{text!r} never fires: no day in {HORIZON_YEARS} years matches it",
            "check day-of-month against month (30 February does not come)",
        )
    return schedule


def upcoming(schedule: Schedule, after: int, count: int, anchor: int) -> list[Upcoming]:
    """The next `count` fire times after an instant, fewer if the schedule ends."""
    tz = zone(schedule.timezone)
    coming: list[Upcoming] = []
    at = after
    while len(coming) < count and (following := schedule.next_after(at, anchor)) is not None:
        named = True
        if isinstance(schedule, CronSchedule):
            named = matches(schedule.fields, following // 1_000 + offset_at(tz, following // 1_000))
        mark = dst_mark(tz, following // 1_000, named=named)
        coming.append(Upcoming(following, local_text(tz, following // 1_000), mark))
        at = following
    return coming


def describe(schedule: Schedule) -> str:
    """The schedule in words."""
    match schedule:
        case CronSchedule():
            return describe_cron(schedule.fields, schedule.timezone)
        case EverySchedule():
            return f"Every {format_duration(schedule.period_ms)}, counted from the job's creation"
        case OnceSchedule():
            return f"Once, at {local_text(zone(schedule.timezone), schedule.instant // 1_000)}"
        case _:
            raise TypeError(f"no words for a schedule of type {type(schedule).__name__}")


def _period(text: str, rest: str) -> int:
    try:
        return parse_duration_ms(rest, minimum_ms=MIN_PERIOD_MS)
    except InvalidDuration as error:
        raise InvalidSchedule(
            f"{text!r}: {error}", 'write a period of at least a second, such as "@every 30m"'
        ) from error


def _instant(text: str, rest: str, tz: ZoneInfo) -> int:
    hint = 'write "@at 2030-01-01T09:00:00" in the job\'s zone, or with an offset: "@at 2030-01-01T09:00:00Z"'
    if not _AT.fullmatch(rest):
        raise InvalidSchedule(f"{text!r} does not name an instant", hint)
    try:
        moment = datetime.datetime.fromisoformat(rest)
    except ValueError as error:
        raise InvalidSchedule(f"{text!r}: {error}", hint) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=tz)
    if not _FIRST_AT <= moment < _LAST_AT:
        raise InvalidSchedule(f"{text!r} is not in the years 1970 to 9998 (UTC)", hint)
    return round(moment.timestamp() * 1_000)


def _unknown_word(text: str) -> InvalidSchedule:
    if text == "@reboot":
        return InvalidSchedule(
            "'@reboot' is not supported: a cluster has no single start",
            "trigger the job from whatever starts your machine",
        )
    known = ", ".join(WORDS)
    if text.lower() in WORDS:
        return InvalidSchedule(f"{text!r} is not a schedule", f"write it in small letters: {text.lower()}")
    return InvalidSchedule(f"{text!r} is not a word this understands", f"known are {known}, @every and @at")
