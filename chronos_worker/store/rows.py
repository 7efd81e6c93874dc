"""Between rows and the nouns of `chronos_common.models`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from chronos_common import ids
from chronos_common.commands import Response
from chronos_common.models import (
    Attempt,
    AttemptStatus,
    Execution,
    ExecutionStatus,
    HttpTarget,
    Job,
    JobSpec,
    JobVersion,
    Misfire,
    NodeInfo,
    NodeState,
    Retention,
    RetryPolicy,
    Skipped,
    Trigger,
)

_packer = msgspec.msgpack.Encoder()
_spec_decoder = msgspec.msgpack.Decoder(JobSpec)
_misfire_decoder = msgspec.msgpack.Decoder(Misfire)
_response_decoder = msgspec.msgpack.Decoder(Response)

pack = _packer.encode


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """What few executions have, kept out of the columns."""

    skipped: Skipped | None = None
    payload: Any = None
    has_payload: bool = False
    replay_of: bytes | None = None


_extra_decoder = msgspec.msgpack.Decoder(Extra)
NO_EXTRA: Final = Extra()
NO_RESPONSE: Final = Response()


class Sending(msgspec.Struct, frozen=True):
    """What sending an attempt needs of a spec: fields of `JobSpec`, with the same defaults."""

    target: HttpTarget
    retry_policy: RetryPolicy = RetryPolicy()
    timeout_ms: int = 300_000


class Keeping(msgspec.Struct, frozen=True):
    """What pruning needs of a spec: a field of `JobSpec`, with the same default."""

    retention: Retention = Retention()


_sending_decoder = msgspec.msgpack.Decoder(Sending)
_keeping_decoder = msgspec.msgpack.Decoder(Keeping)


def decode_spec(raw: bytes) -> JobSpec:
    """A spec from its stored bytes."""
    return _spec_decoder.decode(raw)


def decode_sending(raw: bytes) -> Sending:
    """A part of a spec, at half the price of all of it."""
    return _sending_decoder.decode(raw)


def decode_retention(raw: bytes) -> Retention:
    """A part of a spec."""
    return _keeping_decoder.decode(raw).retention


@lru_cache(maxsize=1_000)
def decode_misfire(raw: bytes) -> Misfire:
    """A misfire policy from its stored bytes."""
    return _misfire_decoder.decode(raw)


def decode_extra(raw: bytes | None) -> Extra:
    """The seldom-used part of an execution."""
    return NO_EXTRA if raw is None else _extra_decoder.decode(raw)


def decode_response(raw: bytes | None) -> Response:
    """The kept response of an attempt."""
    return NO_RESPONSE if raw is None else _response_decoder.decode(raw)


def fetch_tuples(connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> Sequence[Any]:
    """All rows of a read as plain tuples, straight from the driver (docs/adr/0005)."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the only driver there is
    return driver.execute(sql, parameters).fetchall()


JOB_COLUMNS: Final = "id, version, spec, created_at, updated_at, next_fire_time, last_fire_time"


def job_of(row: Any) -> Job:
    """A job from a row of JOB_COLUMNS."""
    raw_id, version, spec, created_at, updated_at, next_fire_time, last_fire_time = row
    return Job(
        id=ids.to_text(raw_id),
        version=version,
        spec=_spec_decoder.decode(spec),
        created_at=created_at,
        updated_at=updated_at,
        next_fire_time=next_fire_time,
        last_fire_time=last_fire_time,
    )


VERSION_COLUMNS: Final = "version, spec, created_at, change, principal"


def version_of(job_id: str, row: Any) -> JobVersion:
    """A saved edition from a row of VERSION_COLUMNS."""
    version, spec, created_at, change, principal = row
    return JobVersion(
        job_id=job_id,
        version=version,
        spec=_spec_decoder.decode(spec),
        created_at=created_at,
        change=change,
        principal=principal,
    )


EXECUTION_COLUMNS: Final = (
    "e.id, j.id, j.name, e.job_version, j.namespace, e.status, e.cause, e.fire_time, e.created_at, e.due_at, "
    "e.attempt, e.lost_count, e.node_id, e.incarnation, e.attempt_status, e.started_at, e.finished_at, "
    "e.response, e.reason, e.extra, e.seq"
)


def execution_of(row: Any, earlier: tuple[Attempt, ...] = ()) -> Execution:
    """An execution from a row of EXECUTION_COLUMNS and its attempts before the current one."""
    (raw_id, job_id, job_name, job_version, namespace, status, cause, fire_time, created_at, due_at,
     number, lost_count, node_id, incarnation, attempt_status, started_at, finished_at,
     response, reason, raw_extra, _seq) = row  # fmt: skip
    extra = decode_extra(raw_extra)
    attempts = earlier
    if attempt_status is not None:
        current = attempt_of(
            number, attempt_status, node_id, incarnation, started_at,
            None if attempt_status == AttemptStatus.RUNNING else finished_at, response,
        )  # fmt: skip
        attempts = (*earlier, current)
    return Execution(
        id=ids.to_text(raw_id),
        job_id=ids.to_text(job_id),
        job_name=job_name,
        job_version=job_version,
        namespace=namespace,
        status=ExecutionStatus(status),
        trigger=Trigger(cause),
        fire_time=fire_time,
        created_at=created_at,
        due_at=due_at,
        started_at=attempts[0].started_at if attempts else None,
        finished_at=finished_at,
        attempt_count=number,
        lost_count=lost_count,
        reason=reason,
        skipped=extra.skipped,
        replay_of=None if extra.replay_of is None else ids.to_text(extra.replay_of),
        payload=extra.payload,
        has_payload=extra.has_payload,
        attempts=attempts,
    )


def attempt_of(
    number: int,
    status: str,
    node_id: str,
    incarnation: int,
    started_at: int,
    finished_at: int | None,
    raw_response: bytes | None,
) -> Attempt:
    """An attempt from its columns, wherever they are kept."""
    response = decode_response(raw_response)
    return Attempt(
        number=number,
        status=AttemptStatus(status),
        node_id=node_id,
        incarnation=incarnation,
        started_at=started_at,
        finished_at=finished_at,
        http_status=response.http_status,
        error_code=response.error_code,
        error=response.error,
        response_headers=response.headers,
        response_body=response.body,
        response_truncated=response.truncated,
        timings_ms=response.timings_ms,
    )


NODE_COLUMNS: Final = "node_id, incarnation, state, control_url, seats, version, announced_at, reads"


def node_of(row: Any) -> NodeInfo:
    """A node from a row of NODE_COLUMNS."""
    node_id, incarnation, state, control_url, seats, version, announced_at, reads = row
    return NodeInfo(node_id, incarnation, NodeState(state), control_url, seats, version, announced_at, reads)
