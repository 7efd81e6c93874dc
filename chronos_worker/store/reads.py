"""Which query answers which read of the protocol."""

from __future__ import annotations

from typing import Any, assert_never

from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.protocol import (
    FindJobs,
    GetCounts,
    GetExecution,
    GetJob,
    GetVersion,
    ListExecutions,
    ListJobs,
    ListVersions,
    Read,
)
from chronos_worker.store import execution_queries, job_queries


def answer_read(  # noqa: PLR0911 - one return for each kind of read
    connection: Connection, read: Read
) -> Any:
    """The result of a read, of the type its docstring names."""
    match read:
        case GetJob():
            return job_queries.get_job(connection, read.job_id)
        case FindJobs():
            return job_queries.find_jobs(connection, read.names, read.namespace)
        case ListJobs():
            return job_queries.list_jobs(connection, read)
        case ListVersions():
            return job_queries.list_versions(connection, read)
        case GetVersion():
            return job_queries.get_version(connection, read.job_id, read.version)
        case GetExecution():
            raw_id = ids.from_text(read.execution_id)
            return None if raw_id is None else execution_queries.get_execution(connection, raw_id)
        case ListExecutions():
            return execution_queries.list_executions(connection, read)
        case GetCounts():
            return execution_queries.get_counts(connection)
        case _:
            assert_never(read)
