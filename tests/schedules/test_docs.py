"""docs/schedules.md is run: every table and block of examples in it."""

import datetime as dt
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from chronos_common.schedules import InvalidSchedule, describe, parse_schedule, upcoming

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
FIRES = re.compile(r"^```fires\n(.+?)\n```$", re.MULTILINE | re.DOTALL)


def table(*header):
    """The rows of the one table with this header, without the backticks around a cell."""
    found = re.findall(rf"^\| {re.escape(' | '.join(header))} \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    assert len(found) == 1, header
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in found[0].splitlines()]
    assert all(len(row) == len(header) for row in rows)
    return rows


def instant(text):
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1000


@pytest.mark.parametrize(("text", "words"), table("Schedule", "In words"))
def test_a_form_means_what_the_page_says(text, words):
    assert describe(parse_schedule(text, "UTC")) == words


@pytest.mark.parametrize(("word", "same"), table("Word", "The same as"))
def test_a_word_is_the_expression_the_page_names(word, same):
    assert parse_schedule(word, "UTC").fields == parse_schedule(same, "UTC").fields


@pytest.mark.parametrize("block", FIRES.findall(PAGE), ids=lambda block: block.splitlines()[0])
def test_an_example_fires_when_the_page_says(block):
    head, *expected = block.splitlines()
    text, zone, after = re.fullmatch(r"(.+?)   in (\S+) after (\S+)", head).groups()
    coming = upcoming(parse_schedule(text, zone), instant(after), len(expected), 0)
    assert [f"{item.local} {item.dst or ''}".strip() for item in coming] == expected


@pytest.mark.parametrize(("text", "answer"), table("Schedule", "Answer"))
def test_a_refusal_says_what_the_page_says(text, answer):
    with pytest.raises(InvalidSchedule) as caught:
        parse_schedule(text, "UTC")
    assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("text", "zone", "after", "theirs", "ours", "why"),
    table("Schedule", "Zone", "After", "croniter", "Chronos", "Why"),
)
def test_croniter_still_differs_as_the_page_says(text, zone, after, theirs, ours, why):
    start = dt.datetime.fromisoformat(after).astimezone(ZoneInfo(zone))
    assert croniter(text, start).get_next(dt.datetime).isoformat() == theirs, why
    if ours == "refused":
        with pytest.raises(InvalidSchedule):
            parse_schedule(text, zone)
    else:
        assert upcoming(parse_schedule(text, zone), instant(after), 1, 0)[0].local == ours, why
