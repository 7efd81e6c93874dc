"""Reading bodies and queries strictly: every violation at once, each with its pointer."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, Final, NoReturn

import orjson
from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from chronos_common.errors import InvalidRequest
from chronos_common.schemas.problems import flatten

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 50
_TOO_DEEP: Final = f"the body is nested more than {MAX_DEPTH} levels deep"
_LEAST, _MOST = -(2**63), 2**63 - 1
"""What any database and message format of ours keeps exactly."""
_LONGEST_INTEGER: Final = 20
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
JSON_TYPES: Final = ("application/json", "application/merge-patch+json")
_PREFIXES: Final = {"json": "", "query": "#query", "headers": "#header", "path": "#path"}


class MalformedBody(BadRequest):
    """A body that is no JSON."""


class StrictParser(FlaskParser):
    """webargs' parser with our reader and our errors."""

    def __init__(self) -> None:
        super().__init__()
        # None: the schemas decide; `Strict` names each unknown field, of queries too.
        self.DEFAULT_UNKNOWN_BY_LOCATION = dict.fromkeys(_PREFIXES)

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002 - webargs' signature
        """The body as plain values; no body at all is an empty object."""
        return {} if not req.mimetype and not req.get_data(cache=True) else read_json(req)

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        """Turn marshmallow's messages into violations."""
        del req, schema, error_status_code, error_headers
        violations = []
        messages: Any = error.messages
        for location, inner in messages.items():
            violations += list(flatten(inner, _PREFIXES.get(location, "")))
        raise InvalidRequest(f"the request has {len(violations)} problem(s)", violations=tuple(violations))


def read_json(req: Request) -> Any:
    """The body of a request.

    Raises:
        UnsupportedMediaType: it is not declared as JSON.
        MalformedBody: it is no JSON in UTF-8, nested too deeply, has a key twice, or holds a number or text
            that cannot be kept exactly.
    """
    if req.mimetype not in JSON_TYPES:
        raise UnsupportedMediaType(f"the body is {req.mimetype or 'of no type'}; accepted is application/json")
    data = req.get_data(cache=True)
    try:
        value = _decoder.decode(data.decode())
    except RecursionError as error:
        raise MalformedBody(_TOO_DEEP) from error
    except ValueError as error:
        raise MalformedBody(f"the body is no acceptable JSON: {error}") from error
    if _depth(value) > MAX_DEPTH:
        raise MalformedBody(_TOO_DEEP)
    if _SURROGATE.search(data):
        _refuse_halves(value)
    return value


def _refuse_halves(value: Any) -> None:
    """Refuse text that no UTF-8 can carry: JSON may name one half of a surrogate pair (RFC 8259, 8.2)."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise MalformedBody("the body has half of a surrogate pair, \\ud800 to \\udfff, in a text") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {twice!r:.80} is given twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or not _LEAST <= (number := int(text)) <= _MOST:
        raise ValueError(f"{text:.40} is too large; accepted are whole numbers from {_LEAST} to {_MOST}")
    return number


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.40} is too large for a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = inner
    return depth


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant
)
