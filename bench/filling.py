"""A long history without the days it takes: finished executions written into a stopped node's database.

Every row is a copy of one that really ran, with an id, a job, a fire time and a place in the sequence of its
own, inserted through the same table and the same indexes. The counters and the next number follow, so that the
node goes on as if it had run them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bench.processes import BenchFailed
from chronos_common.ids import first_id_at, occurrence_id

_MINUTE_MS: Final = 60_000
_CHUNK: Final = 50_000
_COLUMNS: Final = (
    "seq, id, job_seq, job_version, status, cause, fire_time, created_at, due_at, attempt, lost_count, max_attempts, "
    "node_id, incarnation, attempt_status, started_at, finished_at, response, reason, extra"
)


def fill(database: Path, prefix: str, per_job: int, newest: int) -> int:
    """Give each job whose name begins with `prefix` so many finished executions; returns how many in all.

    They lie a minute apart; the last are of the minute before `newest`, an instant in milliseconds.

    Raises:
        BenchFailed: no execution has succeeded yet that could be copied.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA temp_store=MEMORY").fetchall()
        connection.execute("PRAGMA cache_size=-262144").fetchall()
        jobs = connection.execute(
            "SELECT seq, id FROM jobs WHERE name >= ? AND name < ? ORDER BY seq", (prefix, prefix + "\U0010ffff")
        ).fetchall()
        model = connection.execute(
            f"SELECT {_COLUMNS} FROM executions WHERE status = 'succeeded' AND attempt = 1 ORDER BY seq LIMIT 1"
        ).fetchone()
        if model is None:
            raise BenchFailed(f"{database} holds no execution that succeeded, to be copied")
        (first_seq,) = connection.execute("SELECT value FROM meta WHERE key = 'next_execution_seq'").fetchone()
        times = range(newest - per_job * _MINUTE_MS, newest, _MINUTE_MS)
        rows = _copies(model, jobs, times, first_seq)
        marks = ", ".join("?" * (_COLUMNS.count(",") + 1))
        while chunk := list(islice(rows, _CHUNK)):
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO executions ({_COLUMNS}) VALUES ({marks})", chunk)
            connection.execute("COMMIT")
        count = len(jobs) * per_job
        connection.execute("UPDATE meta SET value = value + ? WHERE key = 'next_execution_seq'", (count,))
        connection.execute("UPDATE counters SET value = value + ? WHERE name = 'executions.succeeded'", (count,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return count


def _copies(
    model: tuple[Any, ...], jobs: list[tuple[int, bytes]], times: range, first_seq: int
) -> Iterator[tuple[Any, ...]]:
    names = _COLUMNS.split(", ")
    old = dict(zip(names, model, strict=True))
    took_ms = old["finished_at"] - old["started_at"]
    seq = first_seq
    for time in times:
        for job_seq, raw_id in jobs:
            changed = {
                "seq": seq,
                "id": occurrence_id(raw_id, time),
                "job_seq": job_seq,
                "cause": "schedule",
                "fire_time": time,
                "created_at": time + 1,
                "started_at": time + 2,
                "finished_at": time + 2 + took_ms,
            }
            yield tuple({**old, **changed}.values())
            seq += 1


def has_before(database: Path, instant: int) -> bool:
    """Whether there is any such execution: a look that costs the node nothing, unlike counting them."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT min(id) FROM executions").fetchone()
        return found[0] is not None and bytes(found[0]) < first_id_at(instant)


def count_before(database: Path, instant: int) -> int:
    """Executions with a fire time before an instant."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT count(*) FROM executions WHERE id < ?", (first_id_at(instant),)).fetchone()
        return int(found[0])
