"""Many job changes in one request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields

from chronos_api.answers import answer
from chronos_api.calls import propose, read, services
from chronos_api.documenting import IDEMPOTENCY_KEY, problems
from chronos_api.guard import needs
from chronos_api.problems import ProblemSchema
from chronos_api.resources.jobs import new_spec, with_secrets
from chronos_common.commands import MAX_ENTRY_BYTES, CreateJob, DeleteJob, JobBatch, UpdateJob
from chronos_common.errors import ChronosError, InvalidRequest, NotFound, TooLarge, Violation
from chronos_common.protocol import BatchDone, BatchItem, GetJob
from chronos_common.schemas.fields import Choice, Flag, Strict
from chronos_common.schemas.job import JobDocument, spec_of
from chronos_common.schemas.problems import flatten

MAX_ITEMS: Final = 10_000
_COMMAND_BYTES: Final = MAX_ENTRY_BYTES - 16 * 1024
"""Room for the envelope around a batch."""
Item = CreateJob | UpdateJob | DeleteJob

blueprint = Blueprint("batches", "batches", url_prefix="/api/v1", description="Many job changes at once.")
_document = JobDocument()


class BatchItemBody(Strict):
    """One change: `job` for create and update, `id` for update and delete."""

    op = Choice("create", "update", "delete", required=True)
    id = fields.UUID()
    job = fields.Dict(metadata={"description": "A job document, as for POST /api/v1/jobs."})


class BatchBody(Strict):
    """Changes, in order."""

    items = fields.List(fields.Nested(BatchItemBody), required=True, metadata={"minItems": 1, "maxItems": MAX_ITEMS})
    atomic = Flag(load_default=False, metadata={"description": "All or none; else each by itself."})


class BatchItemAnswer(Schema):
    """What became of one change."""

    status = Choice("created", "updated", "deleted", "rejected")
    id = fields.String(allow_none=True)
    version = fields.Integer(allow_none=True)
    problem = fields.Nested(ProblemSchema, allow_none=True)


class BatchAnswer(Schema):
    """What became of all of them, in order. `applied` false: atomic, and nothing was changed."""

    items = fields.List(fields.Nested(BatchItemAnswer))
    applied = fields.Boolean()


@blueprint.route("/jobs:batch")
class Batches(MethodView):
    """Loading jobs."""

    @needs("write")
    @blueprint.arguments(BatchBody)
    @blueprint.response(200, BatchAnswer)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Create, update and delete jobs, up to 10,000 changes at once."""
        given = body["items"]
        if not 1 <= len(given) <= MAX_ITEMS:
            raise _invalid("/items", f"has {len(given)} items", f"1 to {MAX_ITEMS}")
        changes: list[Item | ChronosError] = [_change(item, f"/items/{n}") for n, item in enumerate(given)]
        if body["atomic"]:
            return answer(_atomic(given, changes))
        return answer(_each(given, changes))


def _atomic(given: list[dict[str, Any]], changes: list[Item | ChronosError]) -> dict[str, Any]:
    refused = [change for change in changes if isinstance(change, ChronosError)]
    if refused:
        violations = tuple(violation for error in refused for violation in error.violations)
        raise InvalidRequest(f"{len(refused)} of {len(given)} items cannot be accepted", violations=violations)
    items = tuple(change for change in changes if not isinstance(change, ChronosError))
    size = sum(len(msgspec.msgpack.encode(item)) for item in items)
    if size > _COMMAND_BYTES:
        raise TooLarge(f"an atomic batch may take {_COMMAND_BYTES} bytes in the log, this takes {size}: split it")
    done = propose(JobBatch(items, atomic=True)).answer
    if not isinstance(done, BatchDone):
        raise TypeError(f"the worker answered with {type(done).__name__}")
    return {
        "items": [_told(item, result) for item, result in zip(given, done.items, strict=True)],
        "applied": done.applied,
    }


def _each(given: list[dict[str, Any]], changes: list[Item | ChronosError]) -> dict[str, Any]:
    told: list[dict[str, Any] | None] = [
        _problem(change) if isinstance(change, ChronosError) else None for change in changes
    ]
    good = [(n, change) for n, change in enumerate(changes) if not isinstance(change, ChronosError)]
    for number, part in enumerate(_parts(good)):
        done = propose(JobBatch(tuple(change for _, change in part)), part=f"/{number}").answer
        if not isinstance(done, BatchDone):
            raise TypeError(f"the worker answered with {type(done).__name__}")
        for (n, _), result in zip(part, done.items, strict=True):
            told[n] = _told(given[n], result)
    return {"items": told, "applied": True}


def _parts(good: list[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    """Cut into parts that fit one log entry each."""
    part: list[tuple[int, Item]] = []
    size = 0
    for n, change in good:
        length = len(msgspec.msgpack.encode(change)) + 64
        if part and size + length > _COMMAND_BYTES:
            yield part
            part, size = [], 0
        part.append((n, change))
        size += length
    if part:
        yield part


def _change(item: dict[str, Any], pointer: str) -> Item | ChronosError:
    """The change an item asks for, or why it cannot be accepted."""
    try:
        if item["op"] in ("update", "delete") and "id" not in item:
            raise _invalid(f"{pointer}/id", "is missing", f"the id of the job to {item['op']}")
        if item["op"] == "delete":
            return DeleteJob(str(item["id"]))
        if "job" not in item:
            raise _invalid(f"{pointer}/job", "is missing", "a job document")
        document = _document.load(item["job"])
        if item["op"] == "create":
            return CreateJob(new_spec(document, f"{pointer}/job"))
        return _update(str(item["id"]), document, pointer)
    except ValidationError as error:
        violations = tuple(flatten(error.messages, f"{pointer}/job"))
        return InvalidRequest(f"the job has {len(violations)} problem(s)", violations=violations)
    except ChronosError as error:
        return error


def _update(job_id: str, document: dict[str, Any], pointer: str) -> UpdateJob:
    stored = read(GetJob(job_id))
    if stored is None:
        raise NotFound(f"there is no job with id {job_id!r}")
    spec = spec_of(document, services().settings.defaults)
    return UpdateJob(job_id, with_secrets(spec, stored.spec, f"{pointer}/job"), stored.version)


def _told(item: dict[str, Any], result: BatchItem) -> dict[str, Any]:
    if result.rejected is not None:
        rejected = result.rejected
        return {
            "status": "rejected",
            "id": None,
            "version": None,
            "problem": _problem_body(rejected.code, rejected.message, rejected.violations),
        }
    return {
        "status": item["op"].removesuffix("e") + "ed",
        "id": result.job_id,
        "version": result.version,
        "problem": None,
    }


def _problem(error: ChronosError) -> dict[str, Any]:
    return {
        "status": "rejected",
        "id": None,
        "version": None,
        "problem": _problem_body(error.code, error.message, error.violations),
    }


def _problem_body(code: str, message: str, violations: tuple[Violation, ...]) -> dict[str, Any]:
    return {
        "type": f"urn:chronos:problem:{code}",
        "code": code,
        "detail": message,
        "violations": msgspec.to_builtins(list(violations)),
    }


def _invalid(pointer: str, problem: str, accepted: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer} {problem}", violations=(Violation(pointer, problem, accepted),))
