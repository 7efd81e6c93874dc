"""Executions: the ledger across all jobs and of one, replay and cancel."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import propose, read_or_404
from chronos_api.cursors import read_cursor, write_cursor
from chronos_api.documenting import IDEMPOTENCY_KEY, LOCATION, Consistency, Page, page_of, problems
from chronos_api.guard import needs
from chronos_api.resources.jobs import execution_response
from chronos_common import ids
from chronos_common.commands import CancelExecution, ReplayExecution
from chronos_common.errors import NotFound
from chronos_common.models import Execution, ExecutionStatus, Trigger
from chronos_common.protocol import GetExecution, ListExecutions
from chronos_common.schemas.execution import ExecutionAnswer, execution_answer
from chronos_common.schemas.fields import Choice, Instant, Text

blueprint = Blueprint("executions", "executions", url_prefix="/api/v1", description="What ran, and what did not.")
ExecutionPageAnswer = page_of(ExecutionAnswer, "ExecutionPage")


class ExecutionQuery(Page):
    """Which executions to list."""

    status = fields.List(
        Choice(*(status.value for status in ExecutionStatus)), metadata={"description": "May be repeated."}
    )
    trigger = Choice(*(trigger.value for trigger in Trigger))
    since = Instant(metadata={"description": "Fire time not before this."})
    until = Instant(metadata={"description": "Fire time before this."})
    sort = Choice("fire_time", "-fire_time", load_default="-fire_time")


class AllExecutionsQuery(ExecutionQuery):
    """Which executions to list, across jobs."""

    namespace = Text(longest=63)


@blueprint.route("/executions")
class AllExecutions(MethodView):
    """The ledger of all jobs."""

    @needs("read")
    @blueprint.arguments(AllExecutionsQuery, location="query")
    @blueprint.response(200, ExecutionPageAnswer)
    @problems(blueprint)
    def get(self, query: dict[str, Any]) -> Response:
        """List executions across jobs, newest fire time first."""
        return _page(query, None)


@blueprint.route("/jobs/<uuid:job_id>/executions")
class JobExecutions(MethodView):
    """The ledger of one job."""

    @needs("read")
    @blueprint.arguments(ExecutionQuery, location="query")
    @blueprint.response(200, ExecutionPageAnswer)
    @problems(blueprint, 404)
    def get(self, query: dict[str, Any], job_id: Any) -> Response:
        """List executions of a job, newest fire time first."""
        return _page(query, str(job_id))


@blueprint.route("/executions/<uuid:execution_id>")
class OneExecution(MethodView):
    """One execution."""

    @needs("read")
    @blueprint.arguments(Consistency, location="query")
    @blueprint.response(200, ExecutionAnswer)
    @problems(blueprint, 404)
    def get(self, _query: dict[str, Any], execution_id: Any) -> Response:
        """Read an execution with all its attempts."""
        return answer(execution_answer(_execution(str(execution_id))))


@blueprint.route("/executions/<uuid:execution_id>/replay")
class ReplayOne(MethodView):
    """Running an execution again."""

    @needs("write")
    @blueprint.response(202, ExecutionAnswer, headers=LOCATION)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, execution_id: Any) -> Response:
        """Start a new execution with the job version and payload this one had."""
        return _replay(str(execution_id))


@blueprint.route("/executions/<uuid:execution_id>/cancel")
class CancelOne(MethodView):
    """Ending an execution."""

    @needs("write")
    @blueprint.response(202, ExecutionAnswer, headers=LOCATION)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, execution_id: Any) -> Response:
        """Cancel a pending or running execution; a running request is aborted."""
        return _cancel(str(execution_id))


@blueprint.route("/jobs/<uuid:job_id>/executions/<uuid:execution_id>")
class OneOfJob(MethodView):
    """One execution, by way of its job."""

    @needs("read")
    @blueprint.arguments(Consistency, location="query")
    @blueprint.response(200, ExecutionAnswer)
    @problems(blueprint, 404)
    def get(self, _query: dict[str, Any], job_id: Any, execution_id: Any) -> Response:
        """Read an execution of a job."""
        return answer(execution_answer(_of_job(str(job_id), str(execution_id))))


@blueprint.route("/jobs/<uuid:job_id>/executions/<uuid:execution_id>/replay")
class ReplayOneOfJob(MethodView):
    """Running an execution again, by way of its job."""

    @needs("write")
    @blueprint.response(202, ExecutionAnswer, headers=LOCATION)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, job_id: Any, execution_id: Any) -> Response:
        """Start a new execution with the job version and payload this one had."""
        _of_job(str(job_id), str(execution_id))
        return _replay(str(execution_id))


@blueprint.route("/jobs/<uuid:job_id>/executions/<uuid:execution_id>/cancel")
class CancelOneOfJob(MethodView):
    """Ending an execution, by way of its job."""

    @needs("write")
    @blueprint.response(202, ExecutionAnswer, headers=LOCATION)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 404, 409)
    def post(self, job_id: Any, execution_id: Any) -> Response:
        """Cancel a pending or running execution of a job."""
        _of_job(str(job_id), str(execution_id))
        return _cancel(str(execution_id))


def _page(query: dict[str, Any], job_id: str | None) -> Response:
    of = {name: value for name, value in query.items() if name not in ("limit", "cursor", "total", "consistency")}
    page = read_or_404(
        ListExecutions(
            job_id=job_id,
            namespace=query.get("namespace"),
            statuses=tuple(ExecutionStatus(status) for status in query.get("status", [])),
            trigger=Trigger(query["trigger"]) if "trigger" in query else None,
            since=query.get("since"),
            until=query.get("until"),
            descending=query["sort"].startswith("-"),
            after=read_cursor(query.get("cursor"), (job_id, of), str),
            limit=query["limit"],
            with_total=query["total"] == "true",
        ),
        "job with id",
        job_id,
    )
    cursor = write_cursor(page.items[-1].id, (job_id, of)) if page.more else None
    body = {"items": [execution_answer(item) for item in page.items], "next_cursor": cursor}
    return answer(body if page.total is None else {**body, "total": page.total})


def _execution(execution_id: str) -> Execution:
    execution: Execution = read_or_404(GetExecution(execution_id), "execution with id", execution_id)
    return execution


def _of_job(job_id: str, execution_id: str) -> Execution:
    execution = _execution(execution_id)
    if execution.job_id != job_id:
        raise NotFound(f"job {job_id} has no execution {execution_id}")
    return execution


def _replay(execution_id: str) -> Response:
    return execution_response(propose(ReplayExecution(ids.from_text(execution_id) or b"")).answer)


def _cancel(execution_id: str) -> Response:
    return execution_response(propose(CancelExecution(ids.from_text(execution_id) or b"")).answer)
