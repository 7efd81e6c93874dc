"""What the planner looks at: rows that are due, the nodes that could take them, the ledger's old end."""

from __future__ import annotations

from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.models import NodeInfo
from chronos_worker.planner.inputs import DeletedJob, DueExecution, DueJob, Ledger
from chronos_worker.store.rows import NODE_COLUMNS, decode_misfire, decode_retention, fetch_tuples, node_of


def list_due_jobs(connection: Connection, after: int, now: int, limit: int) -> list[DueJob]:
    """Jobs whose next fire time came after `after`, longest due first."""
    rows = fetch_tuples(
        connection,
        "SELECT seq, id, version, next_fire_time, created_at, schedule, timezone, misfire FROM jobs "
        "WHERE next_fire_time > ? AND next_fire_time <= ? ORDER BY next_fire_time, id LIMIT ?",
        (after, now, limit),
    )
    return [
        DueJob(seq, raw_id, version, due, created_at, schedule or "", timezone, decode_misfire(misfire))
        for seq, raw_id, version, due, created_at, schedule, timezone, misfire in rows
    ]


def list_due_executions(connection: Connection, after: int, now: int, limit: int) -> list[DueExecution]:
    """Pending executions whose time came after `after`, longest due first."""
    rows = fetch_tuples(
        connection,
        "SELECT seq, attempt FROM executions WHERE status = 'pending' AND due_at > ? AND due_at <= ? "
        "ORDER BY due_at, seq LIMIT ?",
        (after, now, limit),
    )
    return [DueExecution(seq, attempt) for seq, attempt in rows]


def list_waiting(connection: Connection, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """(due_at, seq) of pending executions that come after `after` in this order."""
    rows = connection.exec_driver_sql(
        "SELECT due_at, seq FROM executions WHERE status = 'pending' AND (due_at, seq) > (?, ?) "
        "ORDER BY due_at, seq LIMIT ?",
        (*after, limit),
    )
    return [(due_at, seq) for due_at, seq in rows.all()]


def get_next_due(connection: Connection, after: int) -> int | None:
    """The earliest instant later than `after` at which a job or a pending execution is due."""
    [(found,)] = fetch_tuples(
        connection,
        "SELECT min(due) FROM (SELECT min(next_fire_time) AS due FROM jobs WHERE next_fire_time > ? "
        "UNION ALL SELECT min(due_at) FROM executions WHERE status = 'pending' AND due_at > ?)",
        (after, after),
    )
    return None if found is None else int(found)


def list_nodes(connection: Connection) -> list[NodeInfo]:
    """Every node ever announced."""
    rows = connection.exec_driver_sql(f"SELECT {NODE_COLUMNS} FROM nodes ORDER BY node_id")  # noqa: S608
    return [node_of(row) for row in rows.all()]


def get_anchor(connection: Connection, raw_job_id: bytes) -> tuple[int, int | None] | None:
    """(created_at, last_fire_time) of a job: what its next fire time is counted from."""
    row = connection.exec_driver_sql(
        "SELECT created_at, last_fire_time FROM jobs WHERE id = ? AND deleted_at IS NULL", (raw_job_id,)
    ).first()
    return None if row is None else (row[0], row[1])


def get_next_ledger(connection: Connection, after_job_seq: int) -> Ledger | None:
    """The next job, in order of its number, that has executions; whether it was deleted or not."""
    found = fetch_tuples(
        connection,
        "SELECT seq, spec FROM jobs WHERE seq = (SELECT min(job_seq) FROM executions WHERE job_seq > ?)",
        (after_job_seq,),
    )
    return Ledger(found[0][0], decode_retention(found[0][1])) if found else None


def list_deleted(connection: Connection, after: tuple[int, int], before: int, limit: int) -> list[DeletedJob]:
    """Jobs deleted before `before`, those that come after `after`, (deleted_at, seq), in this order."""
    found = fetch_tuples(
        connection,
        "SELECT deleted_at, seq, EXISTS (SELECT 1 FROM executions WHERE job_seq = jobs.seq) FROM jobs "
        "WHERE (deleted_at, seq) > (?, ?) AND deleted_at < ? ORDER BY deleted_at, seq LIMIT ?",
        (*after, before, limit),
    )
    return [DeletedJob(deleted_at, seq, bool(has_ledger)) for deleted_at, seq, has_ledger in found]


def list_expired(connection: Connection, job_seq: int, *, before: int, keep: int, limit: int) -> list[int]:
    """Finished executions of a job whose fire time is before `before`, or beyond its newest `keep`; oldest first.

    Ids begin with the fire time, so both bounds are ids: only the index is walked, and only rows that go are read.
    """
    gone = fetch_tuples(
        connection, "SELECT id FROM executions WHERE job_seq = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (job_seq, keep)
    )
    bound = max([ids.first_id_at(max(0, before)), *(raw_id for (raw_id,) in gone)])
    expired = fetch_tuples(
        connection,
        "SELECT seq FROM executions WHERE job_seq = ? AND id <= ? AND status NOT IN ('pending', 'running') "
        "ORDER BY id LIMIT ?",
        (job_seq, bound, limit),
    )
    return [seq for (seq,) in expired]


def get_next_execution_seq(connection: Connection) -> int:
    """The number of the execution that comes next: it grows by one with each."""
    seq = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'next_execution_seq'").scalar_one()
    return int(seq)


def has_outcomes_before(connection: Connection, at: int) -> bool:
    """Whether outcomes of commands older than `at` are still kept."""
    found = connection.exec_driver_sql("SELECT 1 FROM outcomes WHERE at < ? LIMIT 1", (at,)).first()
    return found is not None
