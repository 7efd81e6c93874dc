"""Many job changes in one request."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from flask import Response
from flask.views import MethodView
from marshmallow import Schema, ValidationError, fields

from chronos_api.answers import answer
from chronos_api.batching import MAX_COMMAND_BYTES, Change, Item, Told, propose_each, size_of
from chronos_api.blueprint import Blueprint
from chronos_api.calls import propose, read, services
from chronos_api.documenting import EXAMPLE_JOB, IDEMPOTENCY_KEY, problems
from chronos_api.guard import needs
from chronos_api.problems import ProblemSchema
from chronos_api.resources.jobs import acceptable, with_secrets
from chronos_common.commands import CreateJob, DeleteJob, JobBatch, UpdateJob
from chronos_common.errors import ChronosError, InvalidRequest, OutcomeUnknown, TooLarge, Violation
from chronos_common.models import JobSpec
from chronos_common.protocol import BatchDone, GetJob
from chronos_common.schemas.bulk import JobReader
from chronos_common.schemas.changes import OPERATIONS, Changes
from chronos_common.schemas.fields import Choice, Flag, Strict
from chronos_common.schemas.problems import flatten
from chronos_common.schemas.secrets import has_mask

_DONE: Final = dict(zip(OPERATIONS, ("created", "updated", "deleted"), strict=True))

blueprint = Blueprint("batches", "batches", url_prefix="/api/v1", description="Many job changes at once.")


class BatchBody(Strict):
    """Changes, in order."""

    items = Changes(required=True)
    atomic = Flag(load_default=False, metadata={"description": "All or none; else each by itself."})


class BatchItemAnswer(Schema):
    """What became of one change. unknown: sent and not confirmed; repeat with the same Idempotency-Key."""

    status = Choice(*_DONE.values(), "rejected", "unknown")
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
    @blueprint.arguments(BatchBody, example={"items": [{"op": "create", "job": EXAMPLE_JOB}], "atomic": False})
    @blueprint.response(200, BatchAnswer)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Create, update and delete jobs, up to 10,000 changes at once.

        An atomic batch must fit one log entry. The others are made in parts: after a lost connection, the same
        request with the same Idempotency-Key makes what is missing and nothing twice.
        """
        given = body["items"]
        reader = JobReader(services().settings.defaults)
        changes = [_change(reader, item, f"/items/{n}") for n, item in enumerate(given)]
        if body["atomic"]:
            told, applied = _atomic(changes)
        else:
            told, applied = propose_each(changes, propose), True
        items = [_told(item, one) for item, one in zip(given, told, strict=True)]
        return answer({"items": items, "applied": applied})


def _atomic(changes: list[Change]) -> tuple[list[Told], bool]:
    refused = [change for change in changes if isinstance(change, ChronosError)]
    if refused:
        violations = tuple(violation for error in refused for violation in error.violations)
        raise InvalidRequest(f"{len(refused)} of {len(changes)} items cannot be accepted", violations=violations)
    items = tuple(change for change in changes if not isinstance(change, ChronosError))
    size = sum(map(size_of, items))
    if size > MAX_COMMAND_BYTES:
        raise TooLarge(f"an atomic batch may take {MAX_COMMAND_BYTES} bytes in the log, this takes {size}: split it")
    done = propose(JobBatch(items, atomic=True)).answer
    if not isinstance(done, BatchDone):
        raise TypeError(f"the worker answered with {type(done).__name__}")
    return list(done.items), done.applied


def _change(reader: JobReader, item: dict[str, Any], pointer: str) -> Change:
    """The change an item asks for, or why it cannot be accepted."""
    try:
        return _wanted(reader, item, pointer)
    except ValidationError as error:
        violations = tuple(flatten(error.messages, f"{pointer}/job"))
        return InvalidRequest(f"the job has {len(violations)} problem(s)", violations=violations)
    except ChronosError as error:
        return error


def _wanted(reader: JobReader, item: dict[str, Any], pointer: str) -> Item:
    operation = item["op"]
    if operation != "create" and "id" not in item:
        raise _missing(f"{pointer}/id", f"the id of the job to {operation}")
    if operation == "delete":
        return DeleteJob(str(item["id"]))
    if "job" not in item:
        raise _missing(f"{pointer}/job", "a job document")
    spec = reader.spec(item["job"])
    if operation == "create":
        return CreateJob(acceptable(spec, f"{pointer}/job"))
    return _update(str(item["id"]), spec, pointer)


def _update(job_id: str, spec: JobSpec, pointer: str) -> UpdateJob:
    """An update. What is stored matters only to a mask; an unknown id is for the state machine to refuse."""
    stored = read(GetJob(job_id)) if has_mask(spec.target) else None
    if stored is None:
        return UpdateJob(job_id, spec)
    return UpdateJob(job_id, with_secrets(spec, stored.spec, f"{pointer}/job"), stored.version)


def _told(item: dict[str, Any], told: Told) -> dict[str, Any]:
    if isinstance(told, ChronosError):
        status = "unknown" if isinstance(told, OutcomeUnknown) else "rejected"
        problem = _problem(told.code, told.message, told.violations)
        return {"status": status, "id": None, "version": None, "problem": problem}
    if told.rejected is not None:
        problem = _problem(told.rejected.code, told.rejected.message, told.rejected.violations)
        return {"status": "rejected", "id": None, "version": None, "problem": problem}
    return {"status": _DONE[item["op"]], "id": told.job_id, "version": told.version, "problem": None}


def _problem(code: str, message: str, violations: tuple[Violation, ...]) -> dict[str, Any]:
    return {
        "type": f"urn:chronos:problem:{code}",
        "code": code,
        "detail": message,
        "violations": msgspec.to_builtins(list(violations)),
    }


def _missing(pointer: str, accepted: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer} is missing", violations=(Violation(pointer, "is missing", accepted),))
