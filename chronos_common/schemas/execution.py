"""An execution as it is answered."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from chronos_common.models import Attempt, AttemptStatus, Execution, ExecutionStatus, SkipReason, Trigger
from chronos_common.schemas.fields import Choice, Instant, instant_text
from chronos_common.schemas.secrets import masked_headers


class ResponseAnswer(Schema):
    """What a target answered, as far as it is kept."""

    headers = fields.Dict(keys=fields.String(), values=fields.String())
    body = fields.String(allow_none=True)
    truncated = fields.Boolean()


class AttemptAnswer(Schema):
    """One delivery by one life of one node."""

    number = fields.Integer()
    status = Choice(*(status.value for status in AttemptStatus))
    node_id = fields.String()
    incarnation = fields.Integer()
    started_at = Instant()
    finished_at = Instant(allow_none=True)
    http_status = fields.Integer(allow_none=True)
    error_code = fields.String(allow_none=True)
    error = fields.String(allow_none=True)
    response = fields.Nested(ResponseAnswer)
    timings_ms = fields.Dict(keys=fields.String(), values=fields.Float())


class SkippedAnswer(Schema):
    """The occurrences a skipped row stands for, both ends included."""

    reason = Choice(*(reason.value for reason in SkipReason))
    first_fire_time = Instant()
    last_fire_time = Instant()
    count = fields.Integer()
    at_least = fields.Boolean()


class ExecutionAnswer(Schema):
    """One firing of a job, or the record of why there was none."""

    id = fields.String(metadata={"format": "uuid"})
    job_id = fields.String(metadata={"format": "uuid"})
    job_name = fields.String()
    job_version = fields.Integer()
    namespace = fields.String()
    status = Choice(*(status.value for status in ExecutionStatus))
    trigger = Choice(*(trigger.value for trigger in Trigger))
    fire_time = Instant()
    created_at = Instant()
    due_at = Instant(allow_none=True)
    started_at = Instant(allow_none=True)
    finished_at = Instant(allow_none=True)
    attempt_count = fields.Integer()
    lost_count = fields.Integer()
    reason = fields.String(allow_none=True)
    skipped = fields.Nested(SkippedAnswer, allow_none=True)
    replay_of = fields.String(allow_none=True)
    payload = fields.Raw(allow_none=True)
    attempts = fields.List(fields.Nested(AttemptAnswer))


def execution_answer(execution: Execution) -> dict[str, Any]:
    """A stored execution as it is answered."""
    skipped = execution.skipped
    return {
        "id": execution.id,
        "job_id": execution.job_id,
        "job_name": execution.job_name,
        "job_version": execution.job_version,
        "namespace": execution.namespace,
        "status": execution.status.value,
        "trigger": execution.trigger.value,
        "fire_time": instant_text(execution.fire_time),
        "created_at": instant_text(execution.created_at),
        "due_at": _instant(execution.due_at),
        "started_at": _instant(execution.started_at),
        "finished_at": _instant(execution.finished_at),
        "attempt_count": execution.attempt_count,
        "lost_count": execution.lost_count,
        "reason": execution.reason,
        "skipped": None
        if skipped is None
        else {
            "reason": skipped.reason.value,
            "first_fire_time": instant_text(skipped.first_fire_time),
            "last_fire_time": instant_text(skipped.last_fire_time),
            "count": skipped.count,
            "at_least": skipped.at_least,
        },
        "replay_of": execution.replay_of,
        **({"payload": execution.payload} if execution.has_payload else {}),
        "attempts": [_attempt(attempt) for attempt in execution.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "status": attempt.status.value,
        "node_id": attempt.node_id,
        "incarnation": attempt.incarnation,
        "started_at": instant_text(attempt.started_at),
        "finished_at": _instant(attempt.finished_at),
        "http_status": attempt.http_status,
        "error_code": attempt.error_code,
        "error": attempt.error,
        "response": {
            "headers": masked_headers(attempt.response_headers),
            "body": attempt.response_body,
            "truncated": attempt.response_truncated,
        },
        "timings_ms": attempt.timings_ms,
    }


def _instant(ms: int | None) -> str | None:
    return None if ms is None else instant_text(ms)
