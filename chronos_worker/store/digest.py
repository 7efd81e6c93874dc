"""One number for all replicated rows, so that two replicas at the same index can be told apart."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from sqlalchemy import Connection

from chronos_worker.store.rows import pack

_TABLES: Final = (
    ("meta", "key"),
    ("jobs", "seq"),
    ("job_tags", "key, value, job_seq"),
    ("job_versions", "job_seq, version"),
    ("executions", "seq"),
    ("attempts", "execution_seq, number"),
    ("nodes", "node_id"),
    ("outcomes", "command_id"),
    ("counters", "name"),
)
_CHUNK: Final = 1_000


class Digest(NamedTuple):
    """`sha256` of every replicated row as of `index`, in hex; rows of another `schema` have another one."""

    index: int  # type: ignore[assignment]  # the field's own word; nobody calls tuple.index here
    sha256: str
    schema: str


def digest_of(connection: Connection) -> Digest:
    """The digest of what this read transaction sees. Reads every row: seconds for each million."""
    digest = hashlib.sha256()
    index = int(connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'applied_index'").scalar_one())
    for table, key in _TABLES:
        digest.update(table.encode())
        found = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY {key}")  # noqa: S608 - constants
        while rows := found.fetchmany(_CHUNK):
            digest.update(pack([tuple(row) for row in rows]))
    schema = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    return Digest(index, digest.hexdigest(), schema)
