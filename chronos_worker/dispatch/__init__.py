"""Dispatch: sending webhooks. See DESIGN.md beside this file.

Example:
    pool = DispatchPool(settings, wake=log.wake, log=structlog.get_logger())
    pool.start()
    pool.submit(deliveries)          # never waits; PoolFull beyond the seats
    pool.abort([(execution_id, 2)])  # its result will say cancelled
    for result in pool.collect():    # never waits; exactly one result for each delivery
        ...
"""

from chronos_worker.dispatch.messages import AttemptKey, Delivery, DeliveryResult, RequestShown
from chronos_worker.dispatch.once import send_once
from chronos_worker.dispatch.pool import DispatchPool, Log, PoolFull, PoolStats
from chronos_worker.dispatch.settings import AddressSettings, BreakerSettings, DispatchSettings

__all__ = [
    "AddressSettings",
    "AttemptKey",
    "BreakerSettings",
    "Delivery",
    "DeliveryResult",
    "DispatchPool",
    "DispatchSettings",
    "Log",
    "PoolFull",
    "PoolStats",
    "RequestShown",
    "send_once",
]
