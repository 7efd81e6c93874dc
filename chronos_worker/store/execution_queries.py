"""Reading the ledger: executions in order of fire time, by keyset pages."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.models import Attempt, Execution, ExecutionStatus
from chronos_common.protocol import Counts, ExecutionPage, ListExecutions
from chronos_worker.store.conditions import Conditions
from chronos_worker.store.job_queries import MAX_PAGE
from chronos_worker.store.rows import EXECUTION_COLUMNS, attempt_of, execution_of

_FROM: Final = "FROM executions e JOIN jobs j ON j.seq = e.job_seq"


def get_execution(connection: Connection, execution_id: bytes) -> Execution | None:
    """An execution with all its attempts."""
    row = connection.exec_driver_sql(
        f"SELECT {EXECUTION_COLUMNS} {_FROM} WHERE e.id = ?",
        (execution_id,),
    ).first()
    if row is None:
        return None
    return execution_of(row, _earlier_attempts(connection, row.seq))


def list_executions(connection: Connection, read: ListExecutions) -> ExecutionPage | None:
    """A page of the ledger. Ids begin with the fire time, so the order of ids is the order of time."""
    conditions = Conditions()
    if read.job_id is not None:
        seq = connection.exec_driver_sql(
            "SELECT seq FROM jobs WHERE id = ? AND deleted_at IS NULL", (ids.from_text(read.job_id),)
        ).scalar()
        if seq is None:
            return None
        conditions.add("e.job_seq = ?", seq)
    _narrow(conditions, read)
    total = _count(connection, conditions) if read.with_total else None
    direction, sign = ("DESC", "<") if read.descending else ("ASC", ">")
    if read.after is not None:
        conditions.add(f"e.id {sign} ?", ids.from_text(read.after))
    limit = min(read.limit, MAX_PAGE)
    rows = connection.exec_driver_sql(
        f"SELECT {EXECUTION_COLUMNS} {_FROM}{conditions.where()} ORDER BY e.id {direction} LIMIT ?",
        conditions.values(limit + 1),
    ).all()
    items = tuple(
        execution_of(row, _earlier_attempts(connection, row.seq) if row.attempt > 1 else ()) for row in rows[:limit]
    )
    return ExecutionPage(items, more=len(rows) > limit, total=total)


def _narrow(conditions: Conditions, read: ListExecutions) -> None:
    conditions.add_if("j.namespace = ?", read.namespace)
    if read.statuses:
        marks = ", ".join("?" * len(read.statuses))
        conditions.add(f"e.status IN ({marks})", *(status.value for status in read.statuses))
    conditions.add_if("e.cause = ?", None if read.trigger is None else read.trigger.value)
    conditions.add_if("e.id >= ?", None if read.since is None else ids.first_id_at(read.since))
    conditions.add_if("e.id < ?", None if read.until is None else ids.first_id_at(read.until))


def _count(connection: Connection, conditions: Conditions) -> int:
    return int(
        connection.exec_driver_sql(
            f"SELECT count(*) {_FROM}{conditions.where()}",
            conditions.values(),
        ).scalar_one()
    )


def _earlier_attempts(connection: Connection, seq: int) -> tuple[Attempt, ...]:
    rows = connection.exec_driver_sql(
        "SELECT number, status, node_id, incarnation, started_at, finished_at, response FROM attempts "
        "WHERE execution_seq = ? ORDER BY number",
        (seq,),
    )
    return tuple(attempt_of(*row) for row in rows.all())


def get_counts(connection: Connection) -> Counts:
    """Totals since the cluster began, and what is going on now."""
    jobs, enabled = connection.exec_driver_sql(
        "SELECT count(*), coalesce(sum(enabled), 0) FROM jobs WHERE deleted_at IS NULL"
    ).one()
    active = _pairs(
        connection,
        "SELECT status, count(*) FROM executions INDEXED BY executions_active "
        "WHERE status IN ('pending', 'running') GROUP BY status",
    )
    counters = _pairs(connection, "SELECT name, value FROM counters")
    return Counts(
        jobs=jobs,
        jobs_enabled=enabled,
        executions=_of_family(counters, "executions."),
        skipped=_of_family(counters, "skipped."),
        retries=counters.get("retries", 0),
        pending=active.get(ExecutionStatus.PENDING, 0),
        running=active.get(ExecutionStatus.RUNNING, 0),
    )


def _pairs(connection: Connection, sql: str) -> dict[str, Any]:
    return dict(connection.exec_driver_sql(sql).all())


def _of_family(counters: dict[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): value for name, value in counters.items() if name.startswith(prefix)}
