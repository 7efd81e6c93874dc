"""Makes the data directory of this version that later versions will be tested with: `make upgrade-fixture`.

A worker is given jobs of every kind, runs some of them, and is killed while it runs one.
"""

import datetime
import hashlib
import json
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from chronos_api.cluster_client import ClusterClient
from chronos_common import VERSION
from chronos_common.commands import READS, CreateJob, DeleteJob, TriggerJob, UpdateJob
from chronos_common.config import load_config
from chronos_common.models import (
    BearerAuth,
    ConcurrencyPolicy,
    ExecutionStatus,
    HttpTarget,
    JobSpec,
    Misfire,
    MisfirePolicy,
    Retention,
    RetryPolicy,
)
from chronos_common.protocol import GetExecution, TakeSnapshot, decode_result
from chronos_worker.store.database import Database
from tests.support.processes import SECRET, Process, wait_for, worker_status, write_config
from tests.support.sink import sink
from tests.upgrade.kept import HERE, NODE, executions_of, jobs_of, tables_of

NOWHERE = "http://127.0.0.1:9/"
CENTURY = Retention(max_age_ms=100 * 366 * 86_400_000, max_count=100_000)
_LEFT_OUT = ("lock", "-shm")


def spec(name, url, **more):
    return JobSpec(name, HttpTarget(url), retention=CENTURY, **more)


class Maker:
    """Fills one worker by way of its control port."""

    def __init__(self, directory):
        self.config = write_config(directory, NODE)
        self.url = f"http://{load_config(self.config, {}).cluster.control.address}"
        self.client = ClusterClient([self.url], SECRET)
        self.asked = 0

    def ask(self, change):
        self.asked += 1
        key = f"upgrade-{self.asked}"
        return self.client.propose(change, command_id=key, fingerprint=b"upgrade", principal="upgrade").answer

    def create(self, *args, **more):
        return self.ask(CreateJob(spec(*args, **more))).job

    def trigger(self, job, payload=None):
        return self.ask(TriggerJob(job.id, payload, payload is not None)).execution.id

    def execution(self, execution_id):
        return decode_result(GetExecution(execution_id), self.client.query(GetExecution(execution_id)))

    def ended(self, execution_id, status):
        wait_for(lambda: self.execution(execution_id).status is status, f"{execution_id} to be {status}")

    def fill(self, target):
        wait_for(lambda: (status := worker_status(self.url)) and status.ready, "the worker to be ready")
        tick = self.create("tick", target.url, schedule="@every 1s", concurrency=ConcurrencyPolicy.ALLOW)
        self.create("hourly", NOWHERE, schedule="0 * * * *", misfire=Misfire(MisfirePolicy.FIRE_ONCE))
        self.create("daily", NOWHERE, schedule="30 2 * * *", timezone="Europe/Berlin", enabled=False,
                    description="zwei Uhr dreißig", tags={"team": "billing", "kind": "report"})  # fmt: skip
        self.create("once", NOWHERE, schedule="@at 2099-01-01T00:00:00Z")
        self.ask(CreateJob(JobSpec(
            "guarded", HttpTarget(target.url, headers={"X-Team": "a"}, auth=BearerAuth("token")), retention=CENTURY,
        )))  # fmt: skip
        manual = self.create("manual", target.url)
        failing = self.create("failing", NOWHERE, retry_policy=RetryPolicy(2, 100, 100, 1.0))
        gone = self.create("gone", target.url)
        self.ended(self.trigger(manual, {"answer": 42}), ExecutionStatus.SUCCEEDED)
        self.ended(self.trigger(gone), ExecutionStatus.SUCCEEDED)
        self.ended(self.trigger(failing), ExecutionStatus.FAILED)
        wait_for(lambda: len(target.requests) >= 6, "some ticks")
        self.client.admin(TakeSnapshot())
        self.ask(DeleteJob(gone.id))
        self.ask(UpdateJob(tick.id, spec("tick", target.url, schedule="@every 1s", enabled=False)))
        hanging = self.create("hanging", f"{target.url}hang", retry_policy=RetryPolicy(max_attempts=1))
        seen = len(target.requests)
        self.trigger(hanging)
        wait_for(lambda: len(target.requests) > seen, "the request that hangs")
        self.ended(self.trigger(hanging), ExecutionStatus.SKIPPED)


def make(target_directory, scratch):
    maker = Maker(scratch)
    worker = Process("chronos_worker", maker.config, scratch / "log")
    with sink() as target:
        try:
            maker.fill(target)
        finally:
            worker.kill()
            worker.close()
    target_directory.mkdir()
    with tarfile.open(target_directory / "data.tar.gz", "w:gz", compresslevel=9) as archive:
        files = [file for file in sorted((scratch / NODE).rglob("*")) if file.is_file()]
        kept = [file for file in files if not file.name.endswith(_LEFT_OUT)]
        for file in kept:
            archive.add(file, file.relative_to(scratch))
    listing = [
        {"name": str(file.relative_to(scratch)), "bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in kept
    ]
    return describe(scratch / NODE, listing)


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def describe(data, files):
    """The manifest. Opening the rows replays their write-ahead log, so it comes after the archive."""
    with closing(Database(data / "chronos.sqlite3")) as database, database.read() as connection:
        return {
            "version": VERSION,
            "made_at": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
            "node_id": NODE,
            "schema": connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one(),
            "level": READS,
            "applied_index": database.applied()[0],
            "jobs": jobs_of(connection),
            "executions": executions_of(connection),
            "tables": tables_of(connection),
            "files": files,
        }


def main():
    target = HERE / VERSION
    if target.exists():
        sys.exit(
            f"{target} is there already. The directory of a released version never changes; "
            f"if {VERSION} is not released yet, remove it first"
        )
    with tempfile.TemporaryDirectory() as scratch:
        manifest = make(target, Path(scratch))
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"made {target}: {len(manifest['jobs'])} jobs, {len(manifest['executions'])} executions\n")


if __name__ == "__main__":
    main()
