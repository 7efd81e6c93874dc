"""croniter beside us: the same answers wherever the two mean the same."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from chronos_common.schedules import InvalidSchedule, parse_schedule

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def field(low, high):
    """Numbers, true ranges and steps; not the ranges of one and the starred day steps that croniter reads wrongly."""
    number = st.integers(low, high)
    ranged = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: f"{pair[0]}-{pair[1]}")
    stepped = st.tuples(ranged, st.integers(1, 5)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.just("*") | number.map(str) | ranged | stepped


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(expressions, st.integers(0, 4 * 366 * 86_400))
def test_where_no_clock_changes_croniter_agrees_forwards_and_back(expression, seconds):
    try:
        schedule = parse_schedule(expression, "UTC")
    except InvalidSchedule:
        return
    start = START + dt.timedelta(seconds=seconds)
    instant = int(start.timestamp()) * 1000
    theirs = croniter(expression, start)
    at = instant
    for _ in range(5):
        at = schedule.next_after(at, 0)
        assert at == int(theirs.get_next(float)) * 1000, expression
    back = croniter(expression, start).get_prev(float)
    assert schedule.last_at_or_before(instant - 1, 0) == int(back) * 1000, expression


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 0 * * *", "*/10 * * * *", "15 1,2,3 * * 0"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", "2026-03-28"),
        ("Europe/Dublin", "2026-03-28"),
        ("America/New_York", "2026-03-07"),
        ("America/Sao_Paulo", "2018-11-03"),
        ("Australia/Lord_Howe", "2026-10-03"),
    ],
)
def test_where_a_clock_jumps_ahead_croniter_agrees(expression, zone, day):
    start = dt.datetime.fromisoformat(f"{day}T12:00+00:00")
    theirs = croniter(expression, start.astimezone(ZoneInfo(zone)))
    schedule, at = parse_schedule(expression, zone), int(start.timestamp()) * 1000
    for _ in range(20):
        at = schedule.next_after(at, 0)
        assert at == int(theirs.get_next(float)) * 1000
