"""croniter's fields and our calendar against the oracle, through clock changes of ten zones."""

import datetime as dt
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronos_common.schedules import InvalidSchedule, parse_schedule

from .oracle import fire_times

EXAMPLES = int(os.environ.get("CHRONOS_SCHEDULE_EXAMPLES", "12"))
"""Per zone; the long run of a release uses 1,000."""

CHANGES = {
    "Europe/Berlin": ["2024-03-31", "2024-10-27", "2026-03-29"],
    "America/New_York": ["2024-03-10", "2025-11-02"],
    "Australia/Lord_Howe": ["2024-04-07", "2024-10-06"],
    "Pacific/Apia": ["2011-12-30", "2011-12-29", "2012-04-01"],
    "Europe/Dublin": ["2025-03-30", "2025-10-26"],
    "America/Sao_Paulo": ["2018-02-18", "2018-11-04"],
    "Africa/Casablanca": ["2024-03-10", "2024-04-14"],
    "Asia/Kathmandu": ["2024-06-01"],
    "America/St_Johns": ["2024-03-10", "2006-10-29"],
    "Asia/Tehran": ["2021-03-22", "2021-09-22"],
}

WALKED = (
    "30 2 * * *", "15 1,2 * * *", "*/20 1-3 * * *", "0 0 1 * *", "30 1 * * 0",
    "59 23 13 * 5", "*/7 * * * *", "0 12 29 2 *", "1 0 * * *", "30 */2 1-7 * *",
)  # fmt: skip
"""One for each zone, walked through whole years."""
YEARS = int(os.environ.get("CHRONOS_SCHEDULE_YEARS", "1"))
"""The long run of a release uses 10."""


def field(low, high):
    number = st.integers(low, high)
    ranged = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.integers(1, max(2, (high - low) // 2)).map(lambda step: f"*/{step}")
    simple = number.map(str)
    several = st.lists(st.one_of(simple, ranged), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), several, stepped)


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)
near_changes = st.tuples(field(0, 59), st.sampled_from(["*", "*/2", "1", "2", "0-3", "1,2", "23", "0"])).map(
    lambda pair: f"{pair[0]} {pair[1]} * * *"
)


def answers(expression, zone, start, end):
    schedule = parse_schedule(expression, zone)
    at, until, found = int(start.timestamp()) * 1000 - 1, int(end.timestamp()) * 1000, []
    while (at := schedule.next_after(at, 0)) is not None and at < until:
        found.append(dt.datetime.fromtimestamp(at / 1000, dt.UTC))
    return found


@pytest.mark.parametrize("zone", CHANGES)
def test_every_fire_time_around_a_clock_change_is_the_oracles(zone):
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.one_of(near_changes, expressions), st.sampled_from(CHANGES[zone]))
    def agree(expression, day):
        middle = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
        start, end = middle - dt.timedelta(days=1), middle + dt.timedelta(days=2)
        try:
            found = answers(expression, zone, start, end)
        except InvalidSchedule:  # a combination of days that never comes
            found = []
        expected = fire_times(expression, zone, start, end)
        assert found == expected, (expression, day, found[:3], expected[:3])

    agree()


@pytest.mark.parametrize(("zone", "expression"), list(zip(CHANGES, WALKED, strict=True)))
def test_whole_years_by_the_minute_are_the_oracles(zone, expression):
    first = int(CHANGES[zone][0][:4])
    for year in range(first, first + YEARS):
        start, end = dt.datetime(year, 1, 1, tzinfo=dt.UTC), dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC)
        assert answers(expression, zone, start, end) == fire_times(expression, zone, start, end)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.one_of(near_changes, expressions),
    st.sampled_from(sorted(CHANGES)),
    st.integers(1_300_000_000_000, 1_900_000_000_000),
)
def test_the_last_fire_time_before_is_the_one_that_next_would_reach(expression, zone, instant):
    try:
        schedule = parse_schedule(expression, zone)
    except InvalidSchedule:
        return
    last = schedule.last_at_or_before(instant, 0)
    assert last is not None
    assert last <= instant
    assert schedule.next_after(last - 1, 0) == last
    following = schedule.next_after(last, 0)
    assert following is None or following > instant


@settings(max_examples=30, deadline=None, derandomize=True)
@given(near_changes, st.sampled_from(sorted(CHANGES)), st.integers(1_300_000_000_000, 1_900_000_000_000))
def test_counting_is_walking(expression, zone, instant):
    schedule = parse_schedule(expression, zone)
    until = instant + 3 * 86_400_000
    at, walked = instant, 0
    while (at := schedule.next_after(at, 0)) is not None and at <= until:
        walked += 1
    assert schedule.count_between(instant, until, 0, 10_000) == walked
    assert schedule.count_between(instant, until, 0, 3) == min(walked, 4)
