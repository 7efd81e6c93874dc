"""Celery's app for `celery -A bench.peers.celery_peer worker` and `... beat`, with Redis as the broker.

Set up as "First Steps" and "Periodic Tasks" in its documentation: the default prefork worker with a process for
each core, entries in `beat_schedule`, results ignored since nobody reads them.
"""

from __future__ import annotations

import os

from celery import Celery

from bench.peers.webhook import call

app = Celery("peer", broker=os.environ["PEER_REDIS"])


@app.task(ignore_result=True)
def webhook(url: str) -> None:
    """What each entry does."""
    call(url)


app.conf.timezone = "UTC"
app.conf.beat_schedule = {
    f"job-{number:07}": {"task": webhook.name, "schedule": 1.0, "args": (os.environ["PEER_URL"],)}
    for number in range(int(os.environ["PEER_JOBS"]))
}
