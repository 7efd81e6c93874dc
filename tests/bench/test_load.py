"""A window's cron text fires at every second of its span and at none other near it."""

import datetime

import pytest

from bench.load import Window, window
from chronos_common.schedules import parse_schedule


def _at(text):
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("earliest", "seconds", "first", "length_s"),
    [
        ("2026-11-23T14:37:05.500Z", 10, "2026-11-23T14:37:06Z", 10),
        ("2026-11-23T14:37:55Z", 10, "2026-11-23T14:38:00Z", 10),
        ("2026-11-23T14:37:50Z", 10, "2026-11-23T14:37:50Z", 10),
        ("2026-11-23T14:37:05Z", 60, "2026-11-23T14:38:00Z", 60),
        ("2026-11-23T14:58:30Z", 150, "2026-11-23T14:59:00Z", 180),
        ("2026-11-23T23:58:30Z", 120, "2026-11-23T23:59:00Z", 120),
    ],
)
def test_a_window_fires_at_each_of_its_seconds_and_not_beside_it(earliest, seconds, first, length_s):
    found: Window = window(_at(earliest), seconds)
    assert found.span.first == _at(first)
    assert found.seconds == length_s
    schedule = parse_schedule(found.schedule, "UTC")
    times, at = [], found.span.first - 1_000
    while (at := schedule.next_after(at, 0)) is not None and at < found.span.until:
        times.append(at)
    assert times == list(range(found.span.first, found.span.until, 1_000))
    assert at is None or at >= found.span.until + 50 * 60_000
