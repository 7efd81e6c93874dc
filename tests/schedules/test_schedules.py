"""The forms of a schedule, one sentence each."""

import datetime as dt
import random

import pytest
from cronsim import CronSim

from chronos_common.schedules import InvalidSchedule, InvalidTimezone, describe, parse_schedule, upcoming
from chronos_common.schedules.cron import CronSchedule


def ms(text):
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def local_times(text, zone, after, count=3):
    schedule = parse_schedule(text, zone)
    return [item.local for item in upcoming(schedule, ms(after), count, ms(after))]


def marks(text, zone, after, count=3):
    return [item.dst for item in upcoming(parse_schedule(text, zone), ms(after), count, ms(after))]


def test_a_missing_local_time_fires_once_at_the_jump():
    assert local_times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00") == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]
    assert marks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00") == ["gap", None, None]


def test_several_missing_times_fire_once_together():
    assert local_times("0,15,30 2 29 3 *", "Europe/Berlin", "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2027-03-29T02:00:00+02:00",
    ]


def test_a_doubled_local_time_fires_once_for_fixed_hours():
    assert local_times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    assert marks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", 2) == ["fold", None]


def test_a_wildcard_hour_runs_in_both_of_the_doubled_hours():
    assert local_times("30 * * * *", "Europe/Berlin", "2026-10-25T01:45+02:00", 3) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:30:00+01:00",
    ]


def test_a_wildcard_hour_takes_no_notice_of_a_missing_hour():
    assert local_times("30 * * * *", "Europe/Berlin", "2026-03-29T01:45+01:00", 2) == [
        "2026-03-29T03:30:00+02:00",
        "2026-03-29T04:30:00+02:00",
    ]


def test_seconds_come_first_in_six_fields():
    assert local_times("*/20 0 9 * * *", "UTC", "2026-01-01T00:00+00:00") == [
        "2026-01-01T09:00:00+00:00",
        "2026-01-01T09:00:20+00:00",
        "2026-01-01T09:00:40+00:00",
    ]


def test_day_of_month_and_day_of_week_together_mean_or():
    assert local_times("0 0 13 * FRI", "UTC", "2026-03-27T00:00+00:00", 3) == [
        "2026-04-03T00:00:00+00:00",
        "2026-04-10T00:00:00+00:00",
        "2026-04-13T00:00:00+00:00",
    ]


def test_a_day_field_that_begins_with_a_star_does_not_widen_the_other():
    assert local_times("0 0 */2 * MON", "UTC", "2026-03-01T00:00+00:00", 2) == [
        "2026-03-09T00:00:00+00:00",
        "2026-03-23T00:00:00+00:00",
    ]


def test_the_last_day_of_a_month_follows_the_month():
    assert local_times("0 0 L * *", "UTC", "2028-01-31T12:00+00:00", 2) == [
        "2028-02-29T00:00:00+00:00",
        "2028-03-31T00:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("mixed", "plain"),
    [
        ("0 9 * * *,MON", "0 9 * * *"),
        ("0 9 * * MON,*", "0 9 * * *"),
        ("5,* 9 * * *", "* 9 * * *"),
        ("0 *,7 * * *", "0 * * * *"),
        ("0 0 L,* * *", "0 0 * * *"),
        ("0 0 1 3,* *", "0 0 1 * *"),
        ("*,30 0 0 1 1 *", "* 0 0 1 1 *"),
    ],
)
def test_a_star_in_a_list_is_every_value(mixed, plain):
    now = "2026-05-05T05:05+00:00"
    assert local_times(mixed, "Europe/Berlin", now, 70) == local_times(plain, "Europe/Berlin", now, 70)


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_words_are_expressions(word, same):
    now = "2026-05-05T05:05+00:00"
    assert local_times(word, "Asia/Tokyo", now) == local_times(same, "Asia/Tokyo", now)


def test_every_keeps_its_phase_for_ever():
    schedule = parse_schedule("@every 7m", "UTC")
    anchor = 1_000_000_123
    assert schedule.next_after(anchor, anchor) == anchor + 420_000
    far = anchor + 420_000 * 1_000_000
    assert schedule.next_after(far - 1, anchor) == far
    assert schedule.next_after(far, anchor) == far + 420_000
    assert schedule.last_at_or_before(far + 5, anchor) == far
    assert schedule.last_at_or_before(anchor, anchor) is None
    assert schedule.count_between(anchor, far, anchor, 10) == 11


def test_once_fires_once_in_the_jobs_zone_or_at_its_own_offset():
    local = parse_schedule("@at 2027-01-01T09:00:00", "Asia/Tokyo")
    assert local.next_after(0, 0) == ms("2027-01-01T00:00+00:00")
    assert local.next_after(local.next_after(0, 0), 0) is None
    assert parse_schedule("@at 2027-01-01T09:00:00Z", "Asia/Tokyo").next_after(0, 0) == ms("2027-01-01T09:00+00:00")


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_last_year_of_an_instant_can_be_shown_in_every_zone(zone):
    text = "9998-12-30T12:00:00"
    assert local_times(f"@at {text}", zone, "2026-01-01T00:00+00:00")[0].startswith(text)
    assert text in describe(parse_schedule(f"@at {text}", zone))


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 */7"])
def test_an_expression_that_never_fires_is_refused(expression):
    with pytest.raises(InvalidSchedule, match="never fires"):
        parse_schedule(expression, "UTC")


def test_the_rarest_day_there_is_can_still_be_named():
    schedule = parse_schedule("0 0 29 2 */7", "UTC")  # 29 February on a Sunday, 40 years apart at the worst
    assert schedule.next_after(ms("2088-03-01T00:00+00:00"), 0) == ms("2128-02-29T00:00+00:00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("61 * * * *", "minute is '61', and 61 is out of range; minute takes 0-59"),
        ("* 24 * * *", "hour takes 0-23"),
        ("* * 0 * *", "day-of-month takes 1-31"),
        ("* * * 13 *", "month takes 1-12"),
        ("* * * * 8", "day-of-week takes 0-7"),
        ("* * * * FRT", "did you mean FRI?"),
        ("* * * JUNE *", "neither a number, a name"),
        ("5-1 * * * *", "backwards"),
        ("*/0 * * * *", "a step is 1 or more"),
        ("? * * * *", "Quartz"),
        ("R * * * *", "neither a number"),
        ("H * * * *", "neither a number"),
        ("* * * * * * 2030", "years are not supported"),
        ("* * * *", "has 4 fields"),
        ("@Daily", "small letters: @daily"),
        ("@reboot", "no single start"),
        ("@fortnightly", "known are"),
        ("@every 10ms", "out of bounds"),
        ("@every soon", "not a duration"),
        ("@at tomorrow", "does not name an instant"),
        ("@at 2027-02-30T00:00:00", 'write "@at'),
        ("@at 9999-01-01T00:00:00", "not in the years 1970 to 9998"),
        ("@at 9999-12-31T23:59:59-14:00", "not in the years 1970 to 9998"),
        ("@at 1969-12-31T23:59:59", "not in the years 1970 to 9998"),
        ("@at 0001-01-01T00:00:00+14:00", "not in the years 1970 to 9998"),
        ("", "is not a schedule"),
        ("* * * * *\x00", "is not a schedule"),
    ],
)
def test_a_wrong_text_is_refused_with_what_would_be_accepted(text, said):
    with pytest.raises(InvalidSchedule) as caught:
        parse_schedule(text, "UTC")
    assert said in str(caught.value)


def test_six_fields_in_a_five_field_place_get_a_hint():
    with pytest.raises(InvalidSchedule, match=r"without them it would be '0 9 \* \* \*'"):
        parse_schedule("30 0 9 * * *", "UTC", allow_seconds=False)


@pytest.mark.parametrize(
    ("name", "near"),
    [("Europe/Berln", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("Tokyo", "Asia/Tokyo")],
)
def test_an_unknown_zone_names_the_nearest(name, near):
    with pytest.raises(InvalidTimezone) as caught:
        parse_schedule("@daily", name)
    assert near in caught.value.nearest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 9 * * MON-FRI", "At 09:00, on Monday to Friday, in UTC"),
        ("*/15 * * * *", "Every 15 minutes from minute 0, in UTC"),
        ("0 0 1,15 * *", "At 00:00, on days 1 and 15 of the month, in UTC"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month or on Friday, in UTC"),
        ("0 0 L 12 *", "At 00:00, on the last day of the month, in December, in UTC"),
        ("0 9 * * *,MON", "At 09:00, in UTC"),
        ("0 0 13 * MON,*", "At 00:00, on day 13 of the month or on Sunday to Saturday, in UTC"),
        ("@every 90m", "Every 1h30m, counted from the job's creation"),
    ],
)
def test_a_schedule_can_be_said_in_words(text, words):
    assert describe(parse_schedule(text, "UTC")) == words


@pytest.mark.parametrize(
    "expression",
    ["*/7 * * * *", "0 9 * * 1-5", "5 4 1-7 * *", "0 0 29 2 *", "30 6 * 1,7 *", "0 12 10-20/5 * *"],
)
def test_without_clock_changes_cronsim_agrees(expression):
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    theirs = CronSim(expression, start)
    schedule, at = parse_schedule(expression, "UTC"), int(start.timestamp() * 1000)
    for _ in range(200):
        at = schedule.next_after(at, 0)
        assert at == int(next(theirs).timestamp() * 1000)


@pytest.mark.parametrize("text", ["0 9 * * *", "30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 0 29 2 *"])
def test_answers_do_not_depend_on_what_was_asked_before(text):
    shared = parse_schedule(text, "Europe/Berlin")
    start = int(dt.datetime(2026, 10, 24, tzinfo=dt.UTC).timestamp())  # the clocks go back a day later
    instants = [(start + minute * 60) * 1_000 + 999 for minute in range(0, 3 * 1_440, 7)]
    random.Random(1).shuffle(instants)
    for instant in [*instants, *sorted(instants), *sorted(instants, reverse=True)]:
        fresh = CronSchedule(shared.text, shared.timezone, shared.fields, shared.tz)
        assert shared.next_after(instant, 0) == fresh.next_after(instant, 0)
