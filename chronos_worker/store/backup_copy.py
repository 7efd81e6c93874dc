"""Writing a backup: a copy of the replica at one index, described and checksummed (`chronos_common.backups`)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from chronos_common import VERSION
from chronos_common.backups import APPLICATION_ID, Description, encode_end
from chronos_worker.store.database import Database, sha256_of
from chronos_worker.store.revision import get_revision


class CopyFailed(Exception):
    """The copy could not be made; nothing is left of it. The message says why."""


def write_backup(
    database: Database, path: Path, *, node_id: str, cluster_id: str, taken_at: int, go_on: Callable[[], None]
) -> Description:
    """Write a backup to `path`, beside running writes. Safe from any thread.

    Raises:
        CopyFailed: the disk is full, or fails, or `go_on`, which is called now and then, raised it.
    """
    try:
        with database.read() as connection:
            schema = get_revision(connection)
        index, term = database.copy_to(path, application_id=APPLICATION_ID, go_on=go_on)
        description = Description(
            version=VERSION,
            schema=schema or "",
            cluster_id=cluster_id,
            index=index,
            term=term,
            taken_at=taken_at,
            node_id=node_id,
            size=path.stat().st_size,
            sha256=sha256_of(path),
        )
        with path.open("ab") as stream:
            stream.write(encode_end(description))
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, sqlite3.Error, CopyFailed) as error:
        path.unlink(missing_ok=True)
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
        raise CopyFailed(f"{path} could not be written: {error}") from error
    return description
