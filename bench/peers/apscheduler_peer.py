"""`python -m bench.peers.apscheduler_peer URL JOBS DIRECTORY`: APScheduler 3 with its persistent job store.

Set up as "Configuring the scheduler" in its user guide: an SQLAlchemy store, a thread pool of 20,
`coalesce` false and `max_instances` 3. Every job is a cron trigger that matches each second.
"""

from __future__ import annotations

import sys

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.blocking import BlockingScheduler

from bench.peers.webhook import call


def main(url: str, jobs: str, directory: str) -> None:
    """Run until killed."""
    scheduler = BlockingScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{directory}/jobs.sqlite")},
        executors={"default": ThreadPoolExecutor(20)},
        job_defaults={"coalesce": False, "max_instances": 3},
        timezone="UTC",
    )
    for number in range(int(jobs)):
        scheduler.add_job(call, "cron", second="*", args=[url], id=f"job-{number:07}")
    scheduler.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
