"""Time zones by their IANA names."""

from __future__ import annotations

import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from chronos_common.schedules.errors import InvalidTimezone

_EPOCH: Final = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - the origin of local (naive) seconds
_PROBE_S: Final = 2 * 86_400


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() if not name.startswith(("posix/", "right/"))}


@lru_cache(maxsize=1_000)
def zone(name: str) -> ZoneInfo:
    """The zone of an exact name.

    Raises:
        InvalidTimezone: there is none; carries the nearest names.
    """
    known = _names()
    if not isinstance(name, str) or known.get(name.casefold()) != name:
        folded = name.casefold() if isinstance(name, str) else ""
        raise InvalidTimezone(name, _nearest(folded, known))
    return ZoneInfo(name)


def _nearest(folded: str, known: dict[str, str]) -> list[str]:
    if folded in known:
        return [known[folded]]
    cities = {key.rsplit("/", 1)[-1]: key for key in known}
    wanted = folded.replace(" ", "_")
    found = get_close_matches(wanted, known, n=3, cutoff=0.6)
    found += [cities[city] for city in get_close_matches(wanted.rsplit("/", 1)[-1], cities, n=3, cutoff=0.75)]
    return [known[key] for key in dict.fromkeys(found)][:3]


def offset_at(tz: ZoneInfo, utc_s: int) -> int:
    """Seconds local time is ahead of UTC at an instant."""
    delta = datetime.datetime.fromtimestamp(utc_s, tz).utcoffset()
    assert delta is not None  # noqa: S101 - an aware datetime has an offset
    return delta.days * 86_400 + delta.seconds


def next_transition(tz: ZoneInfo, utc_s: int) -> int | None:
    """The first instant after `utc_s`, within two days, at which the offset changes; None if none does.

    Two changes within two days that cancel out would be missed; no zone has had that.
    """
    before = offset_at(tz, utc_s)
    low, high = utc_s, utc_s + _PROBE_S
    if offset_at(tz, high) == before:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high


def local_text(tz: ZoneInfo, utc_s: int) -> str:
    """An instant as local ISO 8601 text with its offset."""
    return datetime.datetime.fromtimestamp(utc_s, tz).isoformat()


def to_seconds(local: datetime.datetime) -> int:
    """Local (naive) seconds: what a wall clock shows, counted like a Unix time."""
    return int((local - _EPOCH).total_seconds())


def from_seconds(local_s: int) -> datetime.datetime:
    """The wall clock of local (naive) seconds."""
    return _EPOCH + datetime.timedelta(seconds=local_s)
