"""Is every occurrence accounted for, and did each run as often as the ledger says?

The checker shares nothing with what it judges: which occurrences are due follows from the scenario's own
arithmetic, the rows are read with plain SQL from a node's database file, and the sink's log says what arrived.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from chronos_common.ids import first_id_at
from chronos_worker.store.rows import decode_extra

_EXAMPLES: Final = 10


class Span(NamedTuple):
    """Fire times in [first, until), in milliseconds."""

    first: int
    until: int


class Due(NamedTuple):
    """The occurrences one job owes: first, first + step ... below until. Milliseconds."""

    job_seq: int
    first: int
    until: int
    step_ms: int


class Row(NamedTuple):
    """An execution as the ledger has it. `skipped`: the first and last fire time a skipped row stands for."""

    execution_id: bytes
    job_seq: int
    fire_time: int
    status: str
    attempt: int
    started_at: int | None = None
    finished_at: int | None = None
    skipped: tuple[int, int] | None = None


class Totals(msgspec.Struct, frozen=True):
    """The outcome of a check, as it is published.

    `expected`: occurrences that were due; `recorded`: of these, with a final row that runs them or says why
    not; `sink`: requests that arrived for them. `missing`: due and not recorded, or recorded as succeeded and
    never arrived, or arrived without a row. `doubled`: two rows for one occurrence, or more requests than
    attempts.
    """

    expected: int = 0
    recorded: int = 0
    sink: int = 0
    missing: int = 0
    doubled: int = 0

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(
            self.expected + other.expected,
            self.recorded + other.recorded,
            self.sink + other.sink,
            self.missing + other.missing,
            self.doubled + other.doubled,
        )

    @property
    def clean(self) -> bool:
        """Whether nothing is missing and nothing doubled."""
        return not self.missing and not self.doubled


@dataclass
class Verdict:
    """Totals, what makes them up, and the first few offenders as sentences."""

    totals: Totals = field(default_factory=Totals)
    skipped: int = 0
    """Occurrences recorded as not run, with a reason."""
    repeated: int = 0
    """Attempts beyond the first."""
    problems: list[str] = field(default_factory=list)

    def joined(self, other: Verdict) -> Verdict:
        """Both together."""
        return Verdict(
            self.totals.plus(other.totals),
            self.skipped + other.skipped,
            self.repeated + other.repeated,
            self.problems + other.problems,
        )


def check(due: Iterable[Due], rows: Iterable[Row], arrivals: Mapping[bytes, int]) -> Verdict:
    """Compare what was due with the rows and with the number of arrivals of each execution id.

    `rows` and `arrivals` are all there are within the span that is judged, of whatever jobs.
    """
    owed = {item.job_seq: item for item in due}
    unclaimed = dict(arrivals)
    answered: dict[int, set[int]] = {seq: set() for seq in owed}
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for row in rows:
        hits = unclaimed.pop(row.execution_id, 0)
        if row.job_seq not in owed:
            continue
        counts["sink"] += hits
        counts["repeated"] += max(0, row.attempt - 1)
        for kind, sentence in _judge(row, hits, owed[row.job_seq], answered[row.job_seq], counts):
            counts[kind] += 1
            problems.append(sentence)
    expected = recorded = 0
    for seq, item in owed.items():
        times = range(item.first, item.until, item.step_ms)
        found = sum(time in times for time in answered[seq])
        expected += len(times)
        recorded += found
        counts["missing"] += len(times) - found
        if found < len(times) and len(problems) < _EXAMPLES:
            lost = sorted(set(times) - answered[seq])[:3]
            problems.append(f"job {seq}: {len(times) - found} of {len(times)} without a final row, first {lost}")
    counts["missing"] += len(unclaimed)
    problems += [f"{key.hex()} arrived and has no row" for key in list(unclaimed)[:_EXAMPLES]]
    totals = Totals(expected, recorded, counts["sink"], counts["missing"], counts["doubled"])
    return Verdict(totals, counts["skipped"], counts["repeated"], problems[:_EXAMPLES])


def _judge(row: Row, hits: int, due: Due, answered: set[int], counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """Note what a row answers; what is wrong with it, as (missing | doubled, a sentence)."""
    name = f"execution {row.execution_id.hex()} of job {row.job_seq} at {row.fire_time}"
    if row.skipped is not None:
        first, last = row.skipped
        stretch = range(max(first, due.first), min(last + 1, due.until), due.step_ms)
        counts["skipped"] += len(stretch)
        answered.update(stretch)
        if hits:
            yield "doubled", f"{name} is skipped and arrived {hits} time(s)"
        return
    if row.status in ("pending", "running"):
        return  # not final: what it owes stays unanswered
    if row.fire_time in answered:
        yield "doubled", f"{name} has two rows"
    answered.add(row.fire_time)
    if hits > row.attempt:
        yield "doubled", f"{name} arrived {hits} times in {row.attempt} attempt(s)"
    if row.status == "succeeded" and not hits:
        yield "missing", f"{name} succeeded and never arrived"


def read_rows(database: Path, span: Span) -> Iterator[Row]:
    """The scheduled executions of a span of fire times, from a node's database file; the node may be running."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT id, job_seq, fire_time, status, attempt, started_at, finished_at, extra FROM executions "
            "WHERE id >= ? AND id < ? AND cause = 'schedule'",
            (first_id_at(span.first), first_id_at(span.until)),
        )
        for execution_id, job_seq, fire_time, status, attempt, started_at, finished_at, extra in found:
            skipped = decode_extra(extra).skipped
            stretch = None if skipped is None else (skipped.first_fire_time, skipped.last_fire_time)
            yield Row(execution_id, job_seq, fire_time, status, attempt, started_at, finished_at, stretch)


class LoadedJob(NamedTuple):
    """A job as the ledger knows it."""

    seq: int
    created_at: int


def read_jobs(database: Path, prefix: str) -> list[LoadedJob]:
    """The jobs whose names begin with `prefix`, in the order of their creation."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT seq, created_at FROM jobs WHERE name >= ? AND name < ? AND deleted_at IS NULL ORDER BY seq",
            (prefix, prefix + "\U0010ffff"),
        )
        return [LoadedJob(*row) for row in found]


def is_settled(database: Path, until: int) -> bool:
    """Whether nothing runs and nothing before `until` is still to be fired, as this replica has it."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (active,) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_active "
            "WHERE status IN ('pending', 'running'))"
        ).fetchone()
        (due,) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE next_fire_time IS NOT NULL AND next_fire_time < ?)", (until,)
        ).fetchone()
    return not active and not due


def replicas_agree(databases: Sequence[Path], span: Span) -> bool:
    """Whether all replicas hold the same rows of a span."""
    digests = set()
    for database in databases:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            digests.add(
                connection.execute(
                    "SELECT count(*), sum(seq), sum(attempt), sum(started_at), sum(finished_at), "
                    "sum(status = 'succeeded') "
                    "FROM executions WHERE id >= ? AND id < ?",
                    (first_id_at(span.first), first_id_at(span.until)),
                ).fetchone()
            )
    return len(digests) == 1
