"""Second by second around clock changes: six fields, and every kind of hour, against a second oracle.

Nothing is shared with the code under test: each UTC second is shown on the zone's wall clock, and what the
clock jumps over is looked at where it jumps.
"""

import datetime as dt
import os
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronos_common.schedules import parse_schedule, upcoming

EXAMPLES = int(os.environ.get("CHRONOS_SCHEDULE_EXAMPLES", "12"))
"""Per zone; the long run of a release uses 1,000."""

SECOND = dt.timedelta(seconds=1)
WINDOW_S = 3 * 3_600
CHANGES = {  # the instant of the change, UTC
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],  # half an hour
    "Pacific/Apia": ["2011-12-30T10:00"],  # a whole day
    "Europe/Dublin": ["2026-03-29T01:00", "2026-10-25T01:00"],  # winter time is the daylight saving time
    "America/Sao_Paulo": ["2018-11-04T03:00", "2018-02-18T02:00"],  # at midnight
    "America/St_Johns": ["2006-04-02T03:31", "2006-10-29T02:31"],  # one minute past midnight
    "Asia/Pyongyang": ["2015-08-14T15:00", "2018-05-04T15:00"],  # half an hour, at midnight
    "Africa/Casablanca": ["2026-02-15T02:00", "2026-03-22T02:00"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],  # two hours
}
times = st.lists(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]), min_size=1, max_size=3, unique=True)
wild_hours = st.sampled_from([("*", set(range(24))), ("*/2", set(range(0, 24, 2))), ("*/3", set(range(0, 24, 3)))])
fixed_hours = st.lists(st.integers(0, 4) | st.sampled_from([22, 23]), min_size=1, max_size=3, unique=True).map(
    lambda hours: (",".join(map(str, hours)), set(hours))
)


@cache
def wall_clock(zone, change):
    """Each second around a change: the instant, what the clock shows, whether again, and what it jumped over."""
    tz, middle = ZoneInfo(zone), dt.datetime.fromisoformat(change).replace(tzinfo=dt.UTC)
    seconds, before = [], None
    for passed in range(-WINDOW_S - 1, WINDOW_S):
        shown = (middle + SECOND * passed).astimezone(tz)
        local = shown.replace(tzinfo=None)
        missing = int((local - before).total_seconds()) if before is not None and local > before + SECOND else 0
        jumped = [before + SECOND * step for step in range(1, missing)]
        seconds.append((int(shown.timestamp()), local, shown.fold == 1, jumped))
        before = local
    return seconds[1:]


def due_around(seconds, minutes, hours, zone, change, *, wild):
    """Fire times in epoch seconds, for an expression naming every day."""
    found = []
    for instant, local, again, jumped in wall_clock(zone, change):
        candidates = [local] if wild or not again else []
        candidates += [] if wild else jumped
        if any(at.second in seconds and at.minute in minutes and at.hour in hours for at in candidates):
            found.append(instant)
    return found


@pytest.mark.parametrize("zone", CHANGES)
def test_every_second_around_a_clock_change_is_the_oracles(zone):
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(times, times, wild_hours | fixed_hours, st.sampled_from(CHANGES[zone]))
    def agree(seconds, minutes, hour, change):
        text, hours = hour
        schedule = parse_schedule(f"{','.join(map(str, seconds))} {','.join(map(str, minutes))} {text} * * *", zone)
        middle = dt.datetime.fromisoformat(change).replace(tzinfo=dt.UTC)
        expected = due_around(seconds, minutes, hours, zone, change, wild=text.startswith("*"))
        first = (int(middle.timestamp()) - WINDOW_S) * 1000 - 1
        last = (int(middle.timestamp()) + WINDOW_S) * 1000 - 1
        found, at = [], first
        while (at := schedule.next_after(at, 0)) <= last:
            found.append(at // 1000)
        assert found == expected, (schedule.text, change)
        assert schedule.count_between(first, last, 0, 100_000) == len(expected)

    agree()


@pytest.mark.parametrize("zone", CHANGES)
def test_a_mark_of_the_preview_says_what_the_wall_clock_did(zone):
    tz = ZoneInfo(zone)
    for change in CHANGES[zone]:
        middle = dt.datetime.fromisoformat(change).replace(tzinfo=dt.UTC)
        after = int(middle.timestamp() - 3 * 3600) * 1000
        for item in upcoming(parse_schedule("*/10 0-4 * * *", zone), after, 30, 0):
            shown = dt.datetime.fromtimestamp(item.fire_time / 1000, tz)
            wall = shown.replace(tzinfo=None)
            twice = len({wall.replace(tzinfo=tz, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}) == 2
            named = wall.hour <= 4 and wall.minute % 10 == 0 and wall.second == 0
            assert item.local == shown.isoformat()
            assert item.dst == ("fold" if twice else None if named else "gap")
