"""Trying a webhook out."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import services
from chronos_api.documenting import problems
from chronos_api.guard import needs
from chronos_common.errors import InvalidRequest, Violation
from chronos_common.protocol import TestWebhook, WebhookTested
from chronos_common.schemas.fields import Duration, Strict
from chronos_common.schemas.job import WebhookSchema, target_of
from chronos_common.schemas.secrets import NothingStored, masked_headers, unmasked

blueprint = Blueprint("webhooks", "webhooks", url_prefix="/api/v1/webhooks", description="Does the target answer?")


class WebhookTestBody(Strict):
    """A request to send once."""

    webhook = fields.Nested(WebhookSchema, required=True)
    timeout = Duration(low=100, high=60_000, load_default=10_000)


class WebhookTestAnswer(Schema):
    """What was sent and what came back, secrets masked."""

    request = fields.Dict()
    response = fields.Dict(allow_none=True)
    error_code = fields.String(allow_none=True)
    error = fields.String(allow_none=True)
    timings_ms = fields.Dict(keys=fields.String(), values=fields.Float())


@blueprint.route("/test")
class Test(MethodView):
    """Sending once."""

    @needs("write")
    @blueprint.arguments(WebhookTestBody)
    @blueprint.response(200, WebhookTestAnswer)
    @problems(blueprint, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Send a webhook once, from a worker, and show request, response and timings."""
        try:
            target = unmasked(target_of(body["webhook"]), None)
        except NothingStored as error:
            violation = Violation(f"/webhook{error.pointer}", "is a mask", "the value itself")
            raise InvalidRequest("a mask cannot be sent", violations=(violation,)) from error
        call = TestWebhook(target, body["timeout"])
        reply = services().client.admin(call, timeout_s=body["timeout"] / 1_000 + 20)
        if not isinstance(reply, WebhookTested):
            raise TypeError(f"the worker answered with {type(reply).__name__}")
        response = reply.response
        if response is not None:
            response = {**response, "headers": masked_headers(response["headers"])}
        return answer(
            {
                "request": reply.request,
                "response": response,
                "error_code": reply.error_code,
                "error": reply.error,
                "timings_ms": reply.timings_ms,
            }
        )
