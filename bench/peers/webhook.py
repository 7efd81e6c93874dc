"""The request that every peer makes, with the headers by which the sink counts it."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime

import requests

_local = threading.local()


def call(url: str) -> None:
    """GET a URL over a connection that is kept for each thread or process."""
    session = getattr(_local, "session", None)
    if session is None:
        session = _local.session = requests.Session()
    second = datetime.fromtimestamp(int(time.time()), UTC)
    headers = {
        "X-Chronos-Scheduled-Time": f"{second:%Y-%m-%dT%H:%M:%SZ}",
        "X-Chronos-Attempt": "1",
        "X-Chronos-Execution-ID": str(uuid.uuid4()),
    }
    session.get(url, headers=headers, timeout=30)
