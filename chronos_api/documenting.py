"""Documenting what endpoints share: errors, headers, paging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from marshmallow import Schema, fields

from chronos_api.blueprint import Blueprint
from chronos_api.problems import CONTENT_TYPE, ProblemSchema
from chronos_common.schemas.fields import Choice, Strict, Text, Whole

F = TypeVar("F", bound=Callable[..., Any])

PROBLEM_CONTENT: Final = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
ALWAYS: Final = (400, 401, 403, 422, 429, 500, 503)
"""Statuses any authenticated endpoint may answer with."""

IDEMPOTENCY_KEY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": "The same key with the same request gets the same answer, once the change was made (24 hours).",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
MIN_INDEX: Final = {
    "in": "header",
    "name": "X-Chronos-Min-Index",
    "required": False,
    "description": "An X-Chronos-Index of an earlier answer; this one will not be older, or 503.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
IF_MATCH: Final = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "description": "The ETag of the version to be changed; 412 if it is no longer the current one.",
    "schema": {"type": "string", "pattern": '^("[0-9]{1,18}"|\\*)$'},
}
ETAG: Final = {
    "ETag": {"description": "The job's version, for If-Match.", "schema": {"type": "string", "pattern": '^"[0-9]+"$'}}
}
LOCATION: Final = {
    "Location": {"description": "Where it can be read.", "schema": {"type": "string", "format": "uri-reference"}}
}
EXAMPLE_JOB: Final = {
    "name": "daily-report",
    "schedule": "0 9 * * *",
    "timezone": "America/New_York",
    "webhook": {
        "url": "https://api.example.com/reports/generate",
        "method": "POST",
        "headers": {"Authorization": "Bearer token123"},
    },
    "retry_policy": {"max_attempts": 3, "initial_interval": "1s", "multiplier": 2.0},
    "timeout": "5m",
    "enabled": True,
}


class Consistency(Strict):
    """How recent an answer must be."""

    consistency = Choice(
        "default", "strong", metadata={"description": "strong: confirmed with a quorum of workers first."}
    )


class Page(Consistency):
    """Paging of any list."""

    limit = Whole(low=1, high=500, as_text=True, load_default=50)
    cursor = Text(longest=1_000)
    total = Choice("true", "false", load_default="false", metadata={"description": "Also count all that match."})


def page_of(item: type[Schema], name: str) -> type[Schema]:
    """The schema of a page of items."""
    return Schema.from_dict(
        {
            "items": fields.List(fields.Nested(item), required=True),
            "next_cursor": fields.String(allow_none=True, required=True),
            "total": fields.Integer(),
        },
        name=name,
    )


def problems(blueprint: Blueprint, *more: int) -> Callable[[F], F]:
    """Document the error statuses of an endpoint: those of every one, and `more`."""

    def mark(endpoint: F) -> F:
        for status in sorted({*ALWAYS, *more}):
            endpoint = blueprint.alt_response(status, schema=ProblemSchema, content_type=CONTENT_TYPE)(endpoint)
        return endpoint

    return mark
