"""Every error as `application/problem+json` (RFC 9457), and nothing of our insides in it."""

from __future__ import annotations

import math
import secrets
from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
import structlog
from flask import Flask, Response, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from chronos_common.errors import ChronosError, Violation

CONTENT_TYPE: Final = "application/problem+json"
_CODES: Final = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

log = structlog.get_logger("chronos.api")


class ViolationSchema(Schema):
    """One thing wrong with the request."""

    pointer = fields.String(metadata={"description": "JSON pointer into the body, or #query/NAME, #header/NAME."})
    message = fields.String()
    accepted = fields.String(metadata={"description": "What would be accepted, if the message does not say it."})


class ProblemSchema(Schema):
    """A problem as RFC 9457 describes it."""

    type = fields.String(metadata={"example": "urn:chronos:problem:not_found"})
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    instance = fields.String()
    code = fields.String(metadata={"description": "Stable; made for programs."})
    violations = fields.List(fields.Nested(ViolationSchema))
    retry_after_s = fields.Float()


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    violations: tuple[Violation, ...] = (),
    retry_after_s: float | None = None,
) -> Response:
    """A problem as a response."""
    body: dict[str, Any] = {
        "type": f"urn:chronos:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
    }
    if violations:
        body["violations"] = msgspec.to_builtins(list(violations))
    if retry_after_s is not None:
        body["retry_after_s"] = retry_after_s
    response = Response(orjson.dumps(body), status, content_type=CONTENT_TYPE)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return response


def register(app: Flask) -> None:
    """Answer every error of the app as a problem."""

    @app.errorhandler(ChronosError)
    def _expected(error: ChronosError) -> Response:
        return problem(
            error.http_status,
            error.code,
            error.message,
            violations=error.violations,
            retry_after_s=error.retry_after_s,
        )

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        status = error.code or 500
        response = problem(status, _CODES.get(status, "http_error"), _told(error))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        reference = secrets.token_hex(4)
        log.error("request_failed", method=request.method, path=request.path, reference=reference, exc_info=error)
        return problem(500, "internal", f"an error of ours, logged as {reference}")


def _told(error: HTTPException) -> str:
    """What is wrong, naming the culprit where werkzeug's own sentence does not."""
    match error:
        case NotFound():
            hint = "; jobs and executions have UUIDs as ids" if request.path.startswith("/api/") else ""
            return f"there is nothing at {request.path!r:.200}{hint}"
        case MethodNotAllowed(valid_methods=methods) if methods:
            return f"{request.method} is not among the methods here: {', '.join(sorted(methods))}"
        case RequestEntityTooLarge():
            return f"the body is too large; accepted are at most {request.max_content_length} bytes"
        case _:
            return error.description or ""
