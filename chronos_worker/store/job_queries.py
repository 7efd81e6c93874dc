"""Reading jobs and their versions: keyset pages, never OFFSET."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.models import Job, JobVersion
from chronos_common.protocol import JobFilter, JobPage, ListJobs, ListVersions, VersionPage
from chronos_worker.store.conditions import Conditions
from chronos_worker.store.rows import JOB_COLUMNS, VERSION_COLUMNS, fetch_tuples, job_of, version_of

MAX_PAGE: Final = 500
_LAST_RUNE: Final = "\U0010ffff"


def get_job(connection: Connection, job_id: str) -> Job | None:
    """A job by id."""
    found = fetch_tuples(
        connection,
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ? AND deleted_at IS NULL",  # noqa: S608 - constant
        (ids.from_text(job_id),),
    )
    return job_of(found[0]) if found else None


def find_jobs(connection: Connection, names: tuple[str, ...], namespace: str) -> list[Job]:
    """The jobs of a namespace that bear one of these names."""
    found = []
    for name in names:
        row = connection.exec_driver_sql(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE name = ? AND namespace = ? AND deleted_at IS NULL",  # noqa: S608
            (name, namespace),
        ).first()
        if row is not None:
            found.append(job_of(row))
    return found


def list_jobs(connection: Connection, read: ListJobs) -> JobPage:
    """A page of jobs in the order asked for, ties broken by id."""
    total = count_jobs(connection, read.filter) if read.with_total else None
    limit = min(read.limit, MAX_PAGE)
    conditions = _matching(read.filter)
    order = _order(read, conditions)
    rows = connection.exec_driver_sql(
        f"SELECT {JOB_COLUMNS} FROM jobs{conditions.where()} ORDER BY {order} LIMIT ?",  # noqa: S608
        conditions.values(limit + 1),
    ).all()
    return JobPage(tuple(job_of(row) for row in rows[:limit]), more=len(rows) > limit, total=total)


def count_jobs(connection: Connection, job_filter: JobFilter) -> int:
    """How many jobs match."""
    conditions = _matching(job_filter)
    return int(
        connection.exec_driver_sql(
            f"SELECT count(*) FROM jobs{conditions.where()}",  # noqa: S608
            conditions.values(),
        ).scalar_one()
    )


def _order(read: ListJobs, conditions: Conditions) -> str:
    direction, sign = ("DESC", "<") if read.descending else ("ASC", ">")
    after_id = None if read.after is None else ids.from_text(read.after[1])
    if read.sort == "created_at":
        conditions.add_if(f"id {sign} ?", after_id)  # ids begin with the time of creation
        return f"id {direction}"
    if read.sort == "next_fire_time":
        conditions.add("next_fire_time IS NOT NULL")
    if read.after is not None:
        conditions.add(f"({read.sort}, id) {sign} (?, ?)", read.after[0], after_id)
    return f"{read.sort} {direction}, id {direction}"


def _matching(job_filter: JobFilter) -> Conditions:
    conditions = Conditions()
    conditions.add("deleted_at IS NULL")
    conditions.add_if("namespace = ?", job_filter.namespace)
    conditions.add_if("enabled = ?", job_filter.enabled)
    if job_filter.name_prefix:
        conditions.add("name >= ? AND name < ?", job_filter.name_prefix, job_filter.name_prefix + _LAST_RUNE)
    for key, value in job_filter.tags.items():
        conditions.add("seq IN (SELECT job_seq FROM job_tags WHERE key = ? AND value = ?)", key, value)
    return conditions


def list_versions(connection: Connection, read: ListVersions) -> VersionPage | None:
    """A job's saved editions, newest first."""
    seq = _seq(connection, read.job_id)
    if seq is None:
        return None
    limit = min(read.limit, MAX_PAGE)
    conditions = Conditions()
    conditions.add("job_seq = ?", seq)
    conditions.add_if("version < ?", read.before_version)
    rows = connection.exec_driver_sql(
        f"SELECT {VERSION_COLUMNS} FROM job_versions{conditions.where()} ORDER BY version DESC LIMIT ?",  # noqa: S608
        conditions.values(limit + 1),
    ).all()
    return VersionPage(tuple(version_of(read.job_id, row) for row in rows[:limit]), more=len(rows) > limit)


def get_version(connection: Connection, job_id: str, version: int) -> JobVersion | None:
    """One saved edition."""
    row = connection.exec_driver_sql(
        f"SELECT {VERSION_COLUMNS} FROM job_versions WHERE job_seq = ? AND version = ?",  # noqa: S608
        (_seq(connection, job_id), version),
    ).first()
    return None if row is None else version_of(job_id, row)


Edition = tuple[int, int]
"""(job_seq, version)."""


def get_editions(connection: Connection, wanted: set[Edition]) -> dict[Edition, tuple[bytes, bytes]]:
    """(job id, stored spec) of editions, for deliveries; those no longer kept are left out.

    Nearly all are their job's current one, which one statement finds for all of them.
    """
    current = fetch_tuples(
        connection,
        "SELECT seq, version, id, spec FROM jobs WHERE seq IN (SELECT value FROM json_each(?))",
        (json.dumps([job_seq for job_seq, _ in wanted]),),
    )
    found = {(row[0], row[1]): (row[2], row[3]) for row in current}
    for edition in wanted - found.keys():
        row = connection.exec_driver_sql(
            "SELECT jobs.id, job_versions.spec FROM job_versions JOIN jobs ON jobs.seq = job_seq "
            "WHERE job_seq = ? AND job_versions.version = ?",
            edition,
        ).first()
        if row is not None:
            found[edition] = (row[0], row[1])
    return found


def _seq(connection: Connection, job_id: str) -> int | None:
    found = connection.exec_driver_sql(
        "SELECT seq FROM jobs WHERE id = ? AND deleted_at IS NULL", (ids.from_text(job_id),)
    ).scalar()
    return None if found is None else int(found)
