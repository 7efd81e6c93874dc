"""The saved editions of a job: list, read, compare, go back."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import expected_version, propose, read_or_404
from chronos_api.cursors import Count, read_cursor, write_cursor
from chronos_api.documenting import ETAG, IDEMPOTENCY_KEY, IF_MATCH, Consistency, page_of, problems
from chronos_api.guard import needs
from chronos_api.resources.jobs import job_response
from chronos_common.commands import UpdateJob
from chronos_common.models import JobVersion
from chronos_common.protocol import GetJob, GetVersion, JobChanged, ListVersions
from chronos_common.schemas.fields import Instant, Text, Whole, instant_text
from chronos_common.schemas.job import JobAnswer, JobDocument, document_of
from chronos_common.schemas.secrets import differences

blueprint = Blueprint(
    "versions", "versions", url_prefix="/api/v1/jobs/<uuid:job_id>", description="What a job was before."
)


class VersionAnswer(Schema):
    """One edition of a job."""

    version = fields.Integer()
    created_at = Instant()
    change = fields.String(metadata={"description": "created, updated, enabled, disabled or rolled_back"})
    principal = fields.String()
    job = fields.Nested(JobDocument)


class DifferenceAnswer(Schema):
    """One difference between two editions, secrets masked."""

    pointer = fields.String()
    from_ = fields.Raw(data_key="from", allow_none=True)
    to = fields.Raw(allow_none=True)


class VersionsQuery(Consistency):
    """Paging through editions."""

    limit = Whole(low=1, high=500, as_text=True, load_default=50)
    cursor = Text(longest=1_000)


class DiffQuery(Consistency):
    """What to compare with; the edition before, if left out."""

    against = Whole(low=1, high=2**53, as_text=True)


VersionPageAnswer = page_of(VersionAnswer, "VersionPage")


@blueprint.route("/versions")
class Versions(MethodView):
    """All kept editions."""

    @needs("read")
    @blueprint.arguments(VersionsQuery, location="query")
    @blueprint.response(200, VersionPageAnswer)
    @problems(blueprint, 404)
    def get(self, query: dict[str, Any], job_id: Any) -> Response:
        """List a job's editions, newest first; the last 100 are kept."""
        before = read_cursor(query.get("cursor"), str(job_id), Count)
        page = read_or_404(ListVersions(str(job_id), before, query["limit"]), "job with id", job_id)
        cursor = write_cursor(page.items[-1].version, str(job_id)) if page.more else None
        return answer({"items": [_version_answer(item) for item in page.items], "next_cursor": cursor})


@blueprint.route("/versions/<int:version>")
class OneVersion(MethodView):
    """One edition."""

    @needs("read")
    @blueprint.arguments(Consistency, location="query")
    @blueprint.response(200, VersionAnswer)
    @problems(blueprint, 404)
    def get(self, _query: dict[str, Any], job_id: Any, version: int) -> Response:
        """Read an edition of a job."""
        return answer(_version_answer(_version(job_id, version)))


@blueprint.route("/versions/<int:version>/diff")
class VersionDiff(MethodView):
    """Two editions side by side."""

    @needs("read")
    @blueprint.arguments(DiffQuery, location="query")
    @blueprint.response(200, DifferenceAnswer(many=True))
    @problems(blueprint, 404)
    def get(self, query: dict[str, Any], job_id: Any, version: int) -> Response:
        """What this edition changed, secrets masked (a changed secret shows as no difference)."""
        after = document_of(_version(job_id, version).spec)
        against = query.get("against", version - 1)
        before = document_of(_version(job_id, against).spec) if against > 0 else {}
        return answer(differences(before, after))


@blueprint.route("/rollback/<int:version>")
class Rollback(MethodView):
    """Going back."""

    @needs("write")
    @blueprint.response(200, JobAnswer, headers=ETAG)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY, IF_MATCH])
    @problems(blueprint, 404, 409, 412)
    def post(self, job_id: Any, version: int) -> Response:
        """Make an earlier edition the newest again, as a new version."""
        spec = _version(job_id, version).spec
        job = read_or_404(GetJob(str(job_id)), "job with id", job_id)
        expected = expected_version()
        renamed = msgspec.structs.replace(spec, namespace=job.spec.namespace)
        outcome = propose(UpdateJob(str(job_id), renamed, expected, change="rolled_back"))
        if not isinstance(outcome.answer, JobChanged):
            raise TypeError(f"the worker answered with {type(outcome.answer).__name__}")
        return job_response(outcome.answer.job)


def _version(job_id: Any, version: int) -> JobVersion:
    if version > 2**53:
        version = 0
    found: JobVersion = read_or_404(GetVersion(str(job_id), version), "version of the job:", version)
    return found


def _version_answer(version: JobVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "created_at": instant_text(version.created_at),
        "change": version.change,
        "principal": version.principal,
        "job": document_of(version.spec),
    }
