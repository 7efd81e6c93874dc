"""Send one request outside any job, for `POST /webhooks/test`.

It goes through a pool of its own with one process: the same code, policy and bounds as real
deliveries, while the node's process stays free of libcurl and of whatever the target does.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import msgspec

from chronos_worker.dispatch.messages import Delivery, DeliveryResult
from chronos_worker.dispatch.pool import DispatchPool, Log
from chronos_worker.dispatch.settings import DispatchSettings

_START_ALLOWANCE_S: Final = 15.0


def send_once(delivery: Delivery, settings: DispatchSettings, log: Log) -> DeliveryResult:
    """Send and wait for the result, which shows the request with secrets masked.

    Blocks for the delivery's timeout at most, plus the start of a process. May run on any thread.
    """
    news = threading.Event()
    own = msgspec.structs.replace(settings, processes=1, seats=1)
    pool = DispatchPool(own, wake=news.set, log=log)
    pool.start()
    try:
        pool.submit([msgspec.structs.replace(delivery, show_request=True)])
        deadline = time.monotonic() + delivery.timeout_ms / 1_000 + _START_ALLOWANCE_S
        pool.drain(deadline - time.monotonic())
        while not (results := pool.collect()):
            news.wait(max(0.0, deadline - time.monotonic()))
            news.clear()
        return results[0]
    finally:
        pool.close()
