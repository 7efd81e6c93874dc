"""JSON answers, written once and fast."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response


def answer(data: Any, status: int = 200) -> Response:
    """`data` as a JSON response. Documented schemas describe it; they do not serialise it."""
    return Response(orjson.dumps(data), status, content_type="application/json")
