"""A large database as a backup: made on a node of its own, for any cluster to be filled from."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.bulk import load_many, sparse
from bench.cluster import Cluster, cluster
from bench.filling import fill
from bench.machine import REPOSITORY
from bench.processes import BenchFailed, now_ms, wait_for
from bench.sink import sink
from chronos_common.commands import Response
from chronos_worker.store.rows import pack

PREFIX: Final = "history-"
_PER_JOB: Final = 1_000
"""As many finished executions as a job keeps by default, so that none is pruned."""
_BODY_BYTES: Final = 3_000
_ROW_BYTES: Final = 4_400
"""Of such an execution in the database, with its part of the indexes; as found."""
_PATIENCE_S: Final = 3_600


def make_backup(directory: Path, size_mb: int) -> Path:
    """A backup of about so many megabytes of finished executions."""
    jobs = max(1, size_mb * 1_000_000 // (_PER_JOB * _ROW_BYTES))
    with cluster(directory / "origin", 1) as origin:
        with sink(directory / "origin-sink") as target:
            load_many(origin, sparse(PREFIX, jobs, target.url))
            _run_one(origin)
        origin.stop()
        (database,) = origin.databases
        _fatten(database)
        fill(database, PREFIX, _PER_JOB, now_ms())
        origin.start()
        backup(origin, directory / "backup")
    shutil.rmtree(origin.directory)
    return directory / "backup"


def _run_one(origin: Cluster) -> None:
    """One real execution, of which the others are copies."""
    with origin.client() as client:
        job = client.want(200, "GET", f"/api/v1/jobs?limit=1&name_prefix={PREFIX}")["items"][0]["id"]
        client.want(202, "POST", f"/api/v1/jobs/{job}/trigger", {})
        path = f"/api/v1/jobs/{job}/executions?status=succeeded"
        wait_for(lambda: client.want(200, "GET", path)["items"], "one execution to succeed")


def _fatten(database: Path) -> None:
    """Give the execution that is copied the answer of a talkative target."""
    answer = pack(Response(http_status=200, body="".join(chr(97 + at % 26) for at in range(_BODY_BYTES))))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE executions SET response = ? WHERE status = 'succeeded'", (answer,))


def backup(cluster: Cluster, file: Path) -> float:
    """Take a backup with `chronosctl`; the seconds it took."""
    return _chronosctl(cluster, "backup", "--wait", "1h", str(file))


def restore(cluster: Cluster, file: Path) -> float:
    """Fill a cluster with `chronosctl`; the seconds it took.

    Raises:
        BenchFailed: `chronosctl` did.
    """
    return _chronosctl(cluster, "restore", str(file))


def _chronosctl(cluster: Cluster, *arguments: str) -> float:
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "cli.chronosctl", *arguments],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "CHRONOS_SERVER": f"http://127.0.0.1:{cluster.api_port}",
            "XDG_CONFIG_HOME": "/nonexistent",
        },
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if ended.returncode:
        raise BenchFailed(f"chronosctl {' '.join(arguments)} ended with {ended.returncode}: {ended.stderr}")
    return time.monotonic() - begun
