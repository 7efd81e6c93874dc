"""The list of changes a batch is."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import fields

from chronos_common.schemas.fields import Choice, Strict, refuse

MAX_CHANGES: Final = 10_000
OPERATIONS: Final = ("create", "update", "delete")
_KEYS: Final = frozenset({"op", "id", "job"})
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ChangeBody(Strict):
    """One change: `job` for create and update, `id` for update and delete."""

    op = Choice(*OPERATIONS, required=True)
    id = fields.UUID()
    job = fields.Dict(metadata={"description": "A job document, as for POST /api/v1/jobs."})


class Changes(fields.List[Any]):
    """Changes as `ChangeBody` takes them. A list of nothing but plain ones passes without a look at its schema."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.Nested(ChangeBody), **kwargs)
        self.metadata = {"minItems": 1, "maxItems": MAX_CHANGES, **self.metadata}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            if not 1 <= len(value) <= MAX_CHANGES:
                raise refuse(f"has {len(value)} items", f"1 to {MAX_CHANGES}")
            if all(map(_is_plain, value)):
                return value
        return super()._deserialize(value, *args, **kwargs)


def _is_plain(item: Any) -> bool:
    """Whether a change is what `ChangeBody` would make of it."""
    return (
        isinstance(item, dict)
        and item.keys() <= _KEYS
        and item.get("op") in OPERATIONS
        and ("job" not in item or isinstance(item["job"], dict))
        and ("id" not in item or (isinstance(item["id"], str) and _UUID.fullmatch(item["id"]) is not None))
    )
