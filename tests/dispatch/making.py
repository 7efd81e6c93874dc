"""Deliveries for tests, with everything that does not matter filled in."""

import msgspec

from chronos_common.models import HttpTarget
from chronos_worker.dispatch.messages import Assignment, Delivery

FIRE_TIME = 1_700_000_000_000


def execution_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def delivery(url="http://127.0.0.1:1/", number=1, **fields) -> Delivery:
    """A delivery to `url`; a target's fields (method, body, ...) and a delivery's may be given."""
    own = {name: fields.pop(name) for name in list(fields) if name in Delivery.__struct_fields__}
    defaults = {"attempt": 1, "job_id": "job-1", "fire_time": FIRE_TIME, "term": 3, "timeout_ms": 10_000}
    target = HttpTarget(url=url, **fields)
    return Delivery(**{"execution_id": execution_id(number), **defaults, "target": target, **own})


def assignment(*args, **fields) -> Assignment:
    """The same as the child sees it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(delivery(*args, **fields)), type=Assignment)
