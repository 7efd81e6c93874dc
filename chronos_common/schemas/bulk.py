"""Many job documents, held to the rules of one, but looking only once at what repeats among them.

Loading a document through marshmallow takes some 200 microseconds, nearly all of it for parts (retry policy,
headers, time zone) that are the same in thousands of jobs. The reader here hands each distinct part to the same
field of the same schema once, and remembers what came of it. Whatever is not accepted on that way is loaded
again as a whole by `JobDocument`, so that the rules and their messages exist once.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from marshmallow import Schema, ValidationError

from chronos_common.schemas.job import JobDocument, WebhookSchema, timing_problems

_DISTINCT: Final = frozenset({"name", "description", "url", "body"})
"""Fields whose values rarely repeat; remembering them would only fill memory."""


class JobReader:
    """Reads the documents of one request. It remembers parts of them, secrets too, so it must not outlive it."""

    def __init__(self) -> None:
        self._document = JobDocument()
        self._webhook = WebhookSchema()
        self._required: dict[Schema, set[str]] = {
            schema: {name for name, field in schema.fields.items() if field.required}
            for schema in (self._document, self._webhook)
        }
        self._seen: dict[tuple[str, bytes], Any] = {}

    def load(self, document: dict[str, Any]) -> dict[str, Any]:
        """The validated document, as `JobDocument().load` gives it. Its parts are shared: change nothing in it.

        Raises:
            ValidationError: what `JobDocument` finds wrong.
        """
        try:
            data = self._fields(self._document, document)
            if not timing_problems(data):
                return data
        except (_Doubtful, ValidationError, orjson.JSONEncodeError):
            pass  # told in full below
        loaded: dict[str, Any] = self._document.load(document)
        return loaded

    def _fields(self, schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
        if not self._required[schema] <= given.keys() <= schema.fields.keys():
            raise _Doubtful
        data = {}
        for name, value in given.items():
            if name == "webhook" and isinstance(value, dict):
                data[name] = self._fields(self._webhook, value)
            elif name in _DISTINCT:
                data[name] = schema.fields[name].deserialize(value, name, given)
            else:
                key = (name, orjson.dumps(value))
                if key not in self._seen:
                    self._seen[key] = schema.fields[name].deserialize(value, name, given)
                data[name] = self._seen[key]
        return data


class _Doubtful(Exception):
    """This document needs the whole schema to judge it."""
