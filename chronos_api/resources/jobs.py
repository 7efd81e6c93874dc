"""Jobs: list, create, read, replace, patch, delete, switch on and off, trigger."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from flask import Response, request, url_for
from flask.views import MethodView
from marshmallow import ValidationError, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import expected_version, propose, read, read_or_404, services
from chronos_api.cursors import Count, read_cursor, write_cursor
from chronos_api.documenting import (
    ETAG,
    EXAMPLE_JOB,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    LOCATION,
    Consistency,
    Page,
    page_of,
    problems,
)
from chronos_api.guard import needs
from chronos_api.parsing import JSON_TYPES, read_json
from chronos_common.commands import CreateJob, DeleteJob, TriggerJob, UpdateJob
from chronos_common.errors import InvalidRequest, PreconditionFailed, Violation
from chronos_common.models import Job, JobSpec
from chronos_common.protocol import ExecutionAccepted, GetJob, JobChanged, JobFilter, ListJobs
from chronos_common.schedules import parse_schedule, upcoming
from chronos_common.schemas.execution import ExecutionAnswer, execution_answer
from chronos_common.schemas.fields import Choice, Payload, Strict, Text, Whole, instant_text
from chronos_common.schemas.job import MAX_PAYLOAD_BYTES, JobAnswer, JobDocument, answer_of, document_of, spec_of
from chronos_common.schemas.problems import flatten
from chronos_common.schemas.secrets import NothingStored, has_mask, unmasked

blueprint = Blueprint("jobs", "jobs", url_prefix="/api/v1/jobs", description="What is to run, and when.")
JobPageAnswer = page_of(JobAnswer, "JobPage")
_document = JobDocument()
_UPDATE_TRIES: Final = 5
_MERGE_PATCH: Final = {
    "required": True,
    "content": {
        kind: {"schema": {"type": "object"}, "example": {"timeout": "30s", "tags": {"team": None}}}
        for kind in JSON_TYPES
    },
}


class JobQuery(Page):
    """Which jobs to list."""

    namespace = Text(longest=63)
    enabled = Choice("true", "false")
    name_prefix = Text(longest=200)
    tag = fields.List(Text(longest=320), metadata={"description": "KEY:VALUE; may be repeated."})
    sort = Choice(
        "name", "-name", "created_at", "-created_at", "next_fire_time", "-next_fire_time", load_default="name",
        metadata={"description": "By next_fire_time only jobs are listed that have one."},
    )  # fmt: skip


class TriggerBody(Strict):
    """How a manual run differs from the job."""

    payload = Payload(largest=MAX_PAYLOAD_BYTES, metadata={"description": "Takes the place of the webhook's body."})


class NextQuery(Consistency):
    """How far to look ahead."""

    count = Whole(low=1, high=100, as_text=True, load_default=10)


class UpcomingAnswer(Strict):
    """A coming fire time."""

    fire_time = fields.String(metadata={"format": "date-time"})
    local = fields.String(metadata={"description": "In the job's zone, with its offset."})
    dst = Choice(
        "gap", "fold", allow_none=True,
        metadata={"description": "gap: moved by a missing hour; fold: the clock shows this time twice."},
    )  # fmt: skip


@blueprint.route("")
class Jobs(MethodView):
    """All jobs."""

    @needs("read")
    @blueprint.arguments(JobQuery, location="query")
    @blueprint.response(200, JobPageAnswer)
    @problems(blueprint)
    def get(self, query: dict[str, Any]) -> Response:
        """List jobs, a page at a time."""
        sort = query["sort"].removeprefix("-")
        filters = JobFilter(
            namespace=query.get("namespace"),
            enabled={"true": True, "false": False}.get(query.get("enabled", "")),
            name_prefix=query.get("name_prefix"),
            tags=_tags(query.get("tag", [])),
        )
        of = (filters, query["sort"])
        page = read(
            ListJobs(
                filters,
                sort,
                query["sort"].startswith("-"),
                read_cursor(query.get("cursor"), of, tuple[str | Count | None, str]),
                query["limit"],
                query["total"] == "true",
            )
        )
        cursor = write_cursor((_sort_value(page.items[-1], sort), page.items[-1].id), of) if page.more else None
        body = {"items": [answer_of(job) for job in page.items], "next_cursor": cursor}
        return answer(body if page.total is None else {**body, "total": page.total})

    @needs("write")
    @blueprint.arguments(JobDocument, example=EXAMPLE_JOB)
    @blueprint.response(201, JobAnswer, headers={**ETAG, **LOCATION})
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 409, 413, 415)
    def post(self, document: dict[str, Any]) -> Response:
        """Create a job."""
        spec = acceptable(spec_of(document, services().settings.defaults))
        outcome = propose(CreateJob(spec))
        return job_response(_changed(outcome.answer), 201)


@blueprint.route("/<uuid:job_id>")
class OneJob(MethodView):
    """One job."""

    @needs("read")
    @blueprint.arguments(Consistency, location="query")
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @problems(blueprint, 404)
    def get(self, _query: dict[str, Any], job_id: Any) -> Response:
        """Read a job."""
        return job_response(_job(str(job_id)))

    @needs("write")
    @blueprint.arguments(JobDocument, example=EXAMPLE_JOB)
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @blueprint.doc(parameters=[IF_MATCH])
    @problems(blueprint, 404, 409, 412, 413, 415)
    def put(self, document: dict[str, Any], job_id: Any) -> Response:
        """Replace a job as a whole; what is left out takes its default."""
        return _edit(str(job_id), lambda _: spec_of(document, services().settings.defaults))

    @needs("write")
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @blueprint.doc(parameters=[IF_MATCH], requestBody=_MERGE_PATCH)
    @problems(blueprint, 404, 409, 412, 413, 415)
    def patch(self, job_id: Any) -> Response:
        """Change some fields of a job; null takes a field back to its default (JSON merge patch, RFC 7396)."""
        patch = read_json(request)
        if not isinstance(patch, dict):
            raise _invalid("", "is no object", "an object with the fields to change")
        return _edit(str(job_id), lambda job: _patched(job, patch))

    @needs("write")
    @blueprint.response(204)
    @blueprint.doc(parameters=[IF_MATCH])
    @problems(blueprint, 404, 412)
    def delete(self, job_id: Any) -> Response:
        """Delete a job and cancel what is active of it."""
        propose(DeleteJob(str(job_id), expected_version()))
        return Response(status=204)


@blueprint.route("/<uuid:job_id>/enable")
class EnableJob(MethodView):
    """Switching a job on."""

    @needs("write")
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, job_id: Any) -> Response:
        """Enable a job; occurrences that passed while it was disabled are not caught up."""
        return _switch(str(job_id), enabled=True)


@blueprint.route("/<uuid:job_id>/disable")
class DisableJob(MethodView):
    """Switching a job off."""

    @needs("write")
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, job_id: Any) -> Response:
        """Disable a job; what runs goes on, and it can still be triggered."""
        return _switch(str(job_id), enabled=False)


@blueprint.route("/<uuid:job_id>/trigger")
class TriggerOne(MethodView):
    """Running a job now."""

    @needs("write")
    @blueprint.arguments(TriggerBody, required=False)
    @blueprint.response(202, ExecutionAnswer, headers=LOCATION)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409, 413, 415)
    def post(self, body: dict[str, Any], job_id: Any) -> Response:
        """Start an execution at once, also of a disabled job."""
        outcome = propose(TriggerJob(str(job_id), body.get("payload"), "payload" in body))
        return execution_response(outcome.answer)


@blueprint.route("/<uuid:job_id>/next")
class NextFireTimes(MethodView):
    """Looking ahead."""

    @needs("read")
    @blueprint.arguments(NextQuery, location="query")
    @blueprint.response(200, UpcomingAnswer(many=True))
    @problems(blueprint, 404)
    def get(self, query: dict[str, Any], job_id: Any) -> Response:
        """The coming fire times of a job; empty for a manual, disabled or exhausted one."""
        job = _job(str(job_id))
        if job.next_fire_time is None or job.spec.schedule is None:
            return answer([])
        schedule = parse_schedule(job.spec.schedule, job.spec.timezone)
        coming = upcoming(schedule, job.next_fire_time - 1, query["count"], job.created_at)
        return answer(upcoming_answer(coming))


def upcoming_answer(coming: list[Any]) -> list[dict[str, Any]]:
    """Coming fire times as they are answered."""
    return [{"fire_time": instant_text(item.fire_time), "local": item.local, "dst": item.dst} for item in coming]


def acceptable(spec: JobSpec, base: str = "") -> JobSpec:
    """The spec of a job about to be created.

    Raises:
        InvalidRequest: it holds a mask where nothing is stored, or its one fire time has passed.
    """
    if spec.schedule is not None and spec.schedule.startswith("@at"):
        now = time.time_ns() // 1_000_000
        if parse_schedule(spec.schedule, spec.timezone).next_after(now, now) is None:
            raise _invalid(f"{base}/schedule", f"{spec.schedule!r} has passed", "an instant that is to come")
    return with_secrets(spec, None, base)


def with_secrets(spec: JobSpec, stored: JobSpec | None, base: str = "") -> JobSpec:
    """The spec with every mask replaced by the stored value in its place."""
    if not has_mask(spec.target):
        return spec
    try:
        return msgspec.structs.replace(spec, target=unmasked(spec.target, stored.target if stored else None))
    except NothingStored as error:
        pointer = f"{base}/webhook{error.pointer}"
        raise _invalid(pointer, "is a mask, and nothing is stored here", "the value itself") from error


def job_response(job: Job, status: int = 200) -> Response:
    """A job with its ETag, and its address if it is new."""
    response = answer(answer_of(job), status)
    response.headers["ETag"] = f'"{job.version}"'
    if status == 201:  # noqa: PLR2004 - Created
        response.headers["Location"] = url_for("jobs.OneJob", job_id=job.id)
    return response


def execution_response(accepted: Any) -> Response:
    """An accepted execution with its address."""
    if not isinstance(accepted, ExecutionAccepted):
        raise TypeError(f"the worker answered with {type(accepted).__name__}")
    response = answer(execution_answer(accepted.execution), 202)
    response.headers["Location"] = url_for("executions.OneExecution", execution_id=accepted.execution.id)
    return response


def _job(job_id: str) -> Job:
    job: Job = read_or_404(GetJob(job_id), "job with id", job_id)
    return job


def _changed(outcome: Any) -> Job:
    if not isinstance(outcome, JobChanged):
        raise TypeError(f"the worker answered with {type(outcome).__name__}")
    return outcome.job


def _switch(job_id: str, *, enabled: bool) -> Response:
    change = "enabled" if enabled else "disabled"
    return _edit(job_id, lambda job: msgspec.structs.replace(job.spec, enabled=enabled), change=change)


def _edit(job_id: str, edit: Any, *, change: str = "updated") -> Response:
    """Read, edit, write back if nobody was faster; without If-Match, try again if somebody was."""
    expected = expected_version()
    for attempt in range(_UPDATE_TRIES):
        job = _job(job_id)
        if expected not in (None, job.version):
            raise PreconditionFailed(f"job {job_id} is at version {job.version}, If-Match names {expected}")
        spec = with_secrets(edit(job), job.spec)
        if change != "updated" and spec == job.spec:
            return job_response(job)
        try:
            outcome = propose(UpdateJob(job_id, spec, job.version, change=change), part=f"/{attempt}")
        except PreconditionFailed:
            if expected is not None or attempt == _UPDATE_TRIES - 1:
                raise
        else:
            return job_response(_changed(outcome.answer))
    raise AssertionError("the loop returns or raises")


def _patched(job: Job, patch: Any) -> JobSpec:
    document = _merge(document_of(job.spec), patch)
    try:
        return spec_of(_document.load(document), services().settings.defaults)
    except ValidationError as error:
        violations = tuple(flatten(error.messages))
        raise InvalidRequest(f"the patched job has {len(violations)} problem(s)", violations=violations) from error


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _tags(texts: list[str]) -> dict[str, str]:
    tags = {}
    for text in texts:
        key, colon, value = text.partition(":")
        if not colon:
            raise _invalid("#query/tag", f"is {text!r}", "KEY:VALUE")
        tags[key] = value
    return tags


def _sort_value(job: Job, sort: str) -> str | int | None:
    values: dict[str, str | int | None] = {
        "name": job.spec.name,
        "created_at": job.created_at,
        "next_fire_time": job.next_fire_time,
    }
    return values[sort]


def _invalid(pointer: str, problem: str, accepted: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer} {problem}", violations=(Violation(pointer, problem, accepted),))
