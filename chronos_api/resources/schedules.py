"""Trying schedules out before they are used."""

from __future__ import annotations

import time
from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.documenting import problems
from chronos_api.guard import needs
from chronos_api.problems import ViolationSchema
from chronos_api.resources.jobs import UpcomingAnswer, upcoming_answer
from chronos_common.schedules import InvalidSchedule, InvalidTimezone, describe, parse_schedule, upcoming
from chronos_common.schemas.fields import Strict, Text, Whole

blueprint = Blueprint("schedules", "schedules", url_prefix="/api/v1/schedules", description="When would it run?")


class ScheduleBody(Strict):
    """A schedule to look at."""

    schedule = Text(longest=200, required=True, metadata={"example": "30 2 * * MON-FRI"})
    timezone = Text(longest=64, load_default="UTC")
    count = Whole(low=1, high=100, load_default=10)


class ScheduleAnswer(Schema):
    """What a schedule means, or what is wrong with it."""

    valid = fields.Boolean()
    description = fields.String(allow_none=True)
    next = fields.List(fields.Nested(UpcomingAnswer))
    violations = fields.List(fields.Nested(ViolationSchema))


@blueprint.route("/validate")
class Validate(MethodView):
    """Looking at a schedule."""

    @needs("read")
    @blueprint.arguments(ScheduleBody)
    @blueprint.response(200, ScheduleAnswer)
    @problems(blueprint, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Say a schedule in words, with its coming fire times; an invalid one is answered with what is wrong."""
        try:
            schedule = parse_schedule(body["schedule"], body["timezone"])
        except InvalidSchedule as error:
            return answer(_invalid("/schedule", error.problem, error.hint))
        except InvalidTimezone as error:
            return answer(_invalid("/timezone", str(error), ", ".join(error.nearest) or "an IANA name"))
        now = time.time_ns() // 1_000_000
        return answer(
            {
                "valid": True,
                "description": describe(schedule),
                "next": upcoming_answer(upcoming(schedule, now, body["count"], now)),
                "violations": [],
            }
        )


def _invalid(pointer: str, message: str, accepted: str) -> dict[str, Any]:
    violation = {"pointer": pointer, "message": message, "accepted": accepted}
    return {"valid": False, "description": None, "next": [], "violations": [violation]}
