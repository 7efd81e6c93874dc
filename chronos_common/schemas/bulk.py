"""Many job documents, held to the rules of one, but looking only once at what repeats among them.

Loading a document through marshmallow takes some 200 microseconds, nearly all of it for parts (retry policy,
headers, time zone) that are the same in thousands of jobs. The reader here hands each distinct part to the same
field of the same schema once, and remembers what came of it; of a document that differs from an earlier one only
in what is a job's own, only that is looked at. Whatever is not accepted on that way is loaded again as a whole
by `JobDocument`, so that the rules and their messages exist once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson
from marshmallow import Schema, ValidationError

from chronos_common.models import HttpTarget, JobSpec
from chronos_common.schedules import InvalidSchedule, parse_schedule
from chronos_common.schemas.job import Defaults, JobDocument, WebhookSchema, spec_of, target_of, timing_problems

_OWN: Final = ("name", "description", "schedule", "webhook")
"""What nearly every job has for itself; the rest is often the same in all jobs of a batch."""
_DISTINCT: Final = frozenset({"name", "description", "url", "body"})
"""Fields whose values rarely repeat; remembering them would only fill memory."""
_DOCUMENT: Final = JobDocument()
_WEBHOOK: Final = WebhookSchema()
_REQUIRED: Final[dict[Schema, set[str]]] = {
    schema: {name for name, field in schema.fields.items() if field.required} for schema in (_DOCUMENT, _WEBHOOK)
}


class JobReader:
    """Reads the documents of one request. It remembers parts of them, secrets too, so it must not outlive it."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._seen: dict[tuple[str, bytes], Any] = {}
        self._targets: dict[bytes, HttpTarget] = {}
        self._like: dict[bytes, JobSpec] = {}

    def spec(self, document: dict[str, Any]) -> JobSpec:
        """The spec of a document, as `spec_of(JobDocument().load(document))` gives it.

        Raises:
            ValidationError: what `JobDocument` finds wrong.
        """
        try:
            return self._read(document)
        except (_Doubtful, ValidationError, InvalidSchedule, orjson.JSONEncodeError):
            return spec_of(_DOCUMENT.load(document), self._defaults)  # which tells it in full

    def _read(self, document: dict[str, Any]) -> JobSpec:
        rest = orjson.dumps({name: value for name, value in document.items() if name not in _OWN})
        like = self._like.get(rest)
        if like is None:
            data = self._fields(_DOCUMENT, document)
            if timing_problems(data):
                raise _Doubtful
            spec = self._like[rest] = spec_of(data, self._defaults)
            return spec
        if "name" not in document or "webhook" not in document:
            raise _Doubtful
        schedule = document.get("schedule")
        if schedule is not None:
            parse_schedule(_field(_DOCUMENT, "schedule", schedule), like.timezone)
        return msgspec.structs.replace(
            like,
            name=_field(_DOCUMENT, "name", document["name"]),
            description=_field(_DOCUMENT, "description", document.get("description", "")),
            schedule=schedule,
            target=self._target(document["webhook"]),
        )

    def _target(self, webhook: Any) -> HttpTarget:
        key = orjson.dumps(webhook)
        if key not in self._targets:
            if not isinstance(webhook, dict):
                raise _Doubtful
            self._targets[key] = target_of(self._fields(_WEBHOOK, webhook))
        return self._targets[key]

    def _fields(self, schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
        if not _REQUIRED[schema] <= given.keys() <= schema.fields.keys():
            raise _Doubtful
        data = {}
        for name, value in given.items():
            if name == "webhook" and isinstance(value, dict):
                data[name] = self._fields(_WEBHOOK, value)
            elif name in _DISTINCT:
                data[name] = _field(schema, name, value)
            else:
                key = (name, orjson.dumps(value))
                if key not in self._seen:
                    self._seen[key] = _field(schema, name, value)
                data[name] = self._seen[key]
        return data


def _field(schema: Schema, name: str, value: Any) -> Any:
    return schema.fields[name].deserialize(value, name)


class _Doubtful(Exception):
    """This document needs the whole schema to judge it."""
