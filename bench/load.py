"""Jobs for the scenarios: when they fire, and getting them in through the public API."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from bench.client import Client
from bench.ledger import Due, LoadedJob, Span
from bench.processes import BenchFailed, now_ms, sleep_until

BATCH: Final = 1_000
SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
_JOBS_PER_S: Final = 1_000
"""A loading rate that is surely reached; only how long before its window a load begins depends on it."""


class Window(NamedTuple):
    """A cron text that fires at every second of a span and at no other of this hour."""

    schedule: str
    span: Span

    @property
    def seconds(self) -> int:
        """Fire times of each job."""
        return (self.span.until - self.span.first) // SECOND_MS


def window(earliest_ms: int, seconds: int) -> Window:
    """The next stretch of so many seconds, within one minute or of whole minutes (rounded up)."""
    first = -(-earliest_ms // SECOND_MS) * SECOND_MS
    minutes = -(-seconds // 60)
    if seconds < 60:
        if first % _MINUTE_MS // SECOND_MS + seconds > 60:
            first = -(-first // _MINUTE_MS) * _MINUTE_MS
        second = first % _MINUTE_MS // SECOND_MS
        fields, length = f"{second}-{second + seconds - 1}", seconds * SECOND_MS
    else:
        first = -(-first // _MINUTE_MS) * _MINUTE_MS
        fields, length = "*", minutes * _MINUTE_MS
    moments = [datetime.datetime.fromtimestamp(first / 1_000 + 60 * n, datetime.UTC) for n in range(minutes)]
    minute = ",".join(str(moment.minute) for moment in moments)
    hour = ",".join(dict.fromkeys(str(moment.hour) for moment in moments))
    return Window(f"{fields} {minute} {hour} * * *", Span(first, first + length))


def next_window(jobs: int, seconds: int) -> Window:
    """The first window for which so many jobs can be loaded in time."""
    return window(now_ms() + 4 * SECOND_MS + jobs * SECOND_MS // _JOBS_PER_S, seconds)


def documents(prefix: str, count: int, schedule: str, url: str, **rest: Any) -> Iterator[dict[str, Any]]:
    """Jobs that differ in their name only."""
    for number in range(count):
        yield {"name": f"{prefix}{number:07}", "schedule": schedule, "webhook": {"url": url}, **rest}


def batch_body(jobs: Iterable[dict[str, Any]]) -> bytes:
    """The body of a batch that creates jobs."""
    return orjson.dumps({"items": [{"op": "create", "job": job} for job in jobs]})


def load(client: Client, jobs: Iterable[dict[str, Any]]) -> int:
    """Create jobs through the batch endpoint; returns how many.

    Raises:
        BenchFailed: one was not created.
    """
    count = 0
    rest = iter(jobs)
    while part := list(islice(rest, BATCH)):
        count += post_batch(client, batch_body(part))
    return count


def post_batch(client: Client, body: bytes) -> int:
    """Send one batch; returns how many jobs it created.

    Raises:
        BenchFailed: one was not created.
    """
    answer = client.ask("POST", "/api/v1/jobs:batch", body)
    if answer.status != 200:
        raise BenchFailed(f"the batch was answered with {answer.status}: {answer.body[:500]!r}")
    items = answer.json()["items"]
    refused = [item for item in items if item["status"] != "created"]
    if refused:
        raise BenchFailed(f"{len(refused)} of {len(items)} jobs were not created, the first: {refused[0]}")
    return len(items)


def load_for(client: Client, count: int, at: Window, prefix: str, url: str, **rest: Any) -> None:
    """Load jobs that fire in a window, and wait for it.

    Raises:
        BenchFailed: loading took longer than there was time.
    """
    load(client, documents(prefix, count, at.schedule, url, **rest))
    if now_ms() >= at.span.first:
        raise BenchFailed(f"loading {count} jobs took {now_ms() - at.span.first} ms too long for their window")
    sleep_until(at.span.first)


def every_second(jobs: Iterable[LoadedJob], span: Span) -> list[Due]:
    """What jobs owe that fire on every full second of a span."""
    return [Due(job.seq, span.first, span.until, SECOND_MS) for job in jobs]
