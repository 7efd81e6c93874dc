"""Durations in and out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos_common.durations import InvalidDuration, format_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("1s", 1_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("1.5s", 1_500),
        ("0s", 0),
    ],
)
def test_texts_are_read(text, ms):
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "-5s", "5 m", "5x", "m", "1s1h", "1s1s", "0.1ms", "11000d", "1e3s", 5, None, "٥s"]
)
def test_other_texts_are_refused_with_what_is_accepted(text):
    with pytest.raises(InvalidDuration, match="accepted are"):
        parse_duration_ms(text)


def test_bounds_are_named():
    with pytest.raises(InvalidDuration, match="accepted are 1s to 1m"):
        parse_duration_ms("2m", minimum_ms=1_000, maximum_ms=60_000)


@given(st.integers(0, 10 * 365 * 86_400_000))
def test_what_is_written_is_read_back(ms):
    assert parse_duration_ms(format_duration(ms)) == ms
