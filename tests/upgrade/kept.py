"""Data directories of released versions, and what is known of each.

`VERSION/data.tar.gz` is the directory of a node that was killed in the middle of its work; `VERSION/manifest.json`
says what is in it. Neither changes once the version is released.
"""

import hashlib
import json
import tarfile
from pathlib import Path

from chronos_common.protocol import ListExecutions, ListJobs
from chronos_worker.store.execution_queries import list_executions
from chronos_worker.store.job_queries import list_jobs
from chronos_worker.store.rows import pack

HERE = Path(__file__).parent
NODE = "node-1"
_NOT_ROWS = ("alembic_version",)


def kept():
    """The directories there are, oldest version first."""
    return sorted((file.parent for file in HERE.glob("*/manifest.json")), key=lambda path: numbers(path.name))


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_text(encoding="utf-8"))


def unpack_into(directory, target):
    """The data directory itself, made as it was."""
    with tarfile.open(directory / "data.tar.gz") as archive:
        # Python before 3.11.4 has no filters; the archive is our own.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(target)
    return target / NODE


def tables_of(connection, like=None):
    """A digest of each table's rows; with `like`, an earlier answer, of just the columns there were then."""
    if like is None:
        names = connection.exec_driver_sql(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).scalars()
        like = {name: {"columns": _columns(connection, name)} for name in names.all() if name not in _NOT_ROWS}
    return {name: _table(connection, name, known["columns"]) for name, known in like.items()}


def _columns(connection, table):
    return [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]


def _table(connection, name, columns):
    ordered = ", ".join(columns)
    rows = [tuple(row) for row in connection.exec_driver_sql(f"SELECT {ordered} FROM {name} ORDER BY {ordered}")]
    return {"columns": columns, "rows": len(rows), "sha256": hashlib.sha256(pack(rows)).hexdigest()}


def jobs_of(connection):
    """The jobs in words, as the API would read them."""
    return [
        {
            "name": job.spec.name,
            "id": job.id,
            "version": job.version,
            "schedule": job.spec.schedule,
            "timezone": job.spec.timezone,
            "enabled": job.spec.enabled,
            "url": job.spec.target.url,
            "tags": job.spec.tags,
        }
        for job in list_jobs(connection, ListJobs(limit=500)).items
    ]


def executions_of(connection):
    """The ledger in words, oldest first."""
    return [
        {
            "id": found.id,
            "job": found.job_name,
            "status": found.status.value,
            "trigger": found.trigger.value,
            "fire_time": found.fire_time,
            "attempts": found.attempt_count,
            "skipped": found.skipped.reason.value if found.skipped else None,
        }
        for found in list_executions(connection, ListExecutions(descending=False, limit=500)).items
    ]
