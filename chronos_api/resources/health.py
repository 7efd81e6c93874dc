"""Is it there, and can it work?"""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import services
from chronos_api.documenting import problems
from chronos_api.resources.cluster import cluster_answer
from chronos_common import VERSION
from chronos_common.errors import Unavailable
from chronos_common.schemas.fields import Choice

blueprint = Blueprint("health", "health", url_prefix="/health", description="For load balancers and people.")


class HealthAnswer(Schema):
    """ok: all workers answer and one leads; degraded: one leads; unavailable: none does."""

    status = Choice("ok", "degraded", "unavailable")
    version = fields.String()
    leader = fields.String(allow_none=True)
    workers = fields.Integer()
    workers_reachable = fields.Integer()


class LiveAnswer(Schema):
    """This process answers."""

    status = fields.String()


@blueprint.route("")
class Health(MethodView):
    """The whole."""

    @blueprint.response(200, HealthAnswer)
    @problems(blueprint)
    def get(self) -> Response:
        """How the service is as a whole; always 200, the status is in the body."""
        return answer(_health())


@blueprint.route("/live")
class Live(MethodView):
    """This process."""

    @blueprint.response(200, LiveAnswer)
    @problems(blueprint)
    def get(self) -> Response:
        """Whether this API process answers at all."""
        return answer({"status": "ok"})


@blueprint.route("/ready")
class Ready(MethodView):
    """Taking requests."""

    @blueprint.response(200, HealthAnswer)
    @problems(blueprint)
    def get(self) -> Response:
        """Whether changes can be made: a worker with a quorum leads."""
        health = _health()
        if health["leader"] is None:
            raise Unavailable("no worker with a quorum answers, so no change can be made", retry_after_s=1.0)
        return answer(health)


def _health() -> dict[str, Any]:
    statuses = services().client.statuses()
    leader = cluster_answer(statuses)["leader"]
    reachable = sum(status is not None for status in statuses.values())
    state = "unavailable" if leader is None else "ok" if reachable == len(statuses) else "degraded"
    return {
        "status": state,
        "version": VERSION,
        "leader": leader,
        "workers": len(statuses),
        "workers_reachable": reachable,
    }
