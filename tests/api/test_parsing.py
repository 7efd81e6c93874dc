"""What a body, an instant and a cursor may be: everything else is refused by name, and never reaches a worker."""

import io
import json

import pytest
from flask import Flask, request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from chronos_api.cursors import Count, read_cursor, write_cursor
from chronos_api.parsing import MAX_DEPTH, MalformedBody, StrictParser, read_json
from chronos_common.errors import InvalidRequest
from chronos_common.schemas.fields import MAX_UNKNOWN, Instant, Strict, Text, instant_text

app = Flask(__name__)


def read(data, content_type="application/json"):
    with app.test_request_context(method="POST", data=data, content_type=content_type):
        return read_json(request)


@pytest.mark.parametrize(
    "value",
    [{}, [], {"a": {"b": [1, -1, 2**63 - 1, -(2**63), 1.5, 1e300, None, True]}}, "text", {"é": "😀"}],
)
def test_a_proper_body_is_read_as_it_is(value):
    assert read(json.dumps(value)) == value
    assert read(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "line 1 column 1"),
        (b'{"a": 1,}', "line 1 column"),
        (b'{"a":\n oops}', "line 2 column 2"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": 9223372036854775808}', "9223372036854775808 is too large"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "too large"),
        (b'{"a": "\xff"}', "utf-8"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "levels deep"),
        (b"[" * 500_000 + b"]" * 500_000, "levels deep"),
    ],
)
def test_a_body_that_cannot_be_kept_exactly_is_refused_with_the_reason(data, told):
    with pytest.raises(MalformedBody) as refused:
        read(data)
    assert told in refused.value.description
    assert len(refused.value.description) < 300


def loaded(**request_arguments):
    with app.test_request_context(method="POST", **request_arguments):
        return StrictParser().load_json(request, Schema())


def test_no_body_at_all_is_an_empty_object():
    assert loaded() == {}


def test_a_body_of_no_declared_type_is_not_passed_over():
    with pytest.raises(UnsupportedMediaType):
        loaded(data=b"{}")
    in_chunks = {"input_stream": io.BytesIO(b"{}"), "environ_overrides": {"wsgi.input_terminated": True}}
    with pytest.raises(UnsupportedMediaType):
        loaded(**in_chunks)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T09:00:00.125Z", 1795424400125),
        ("2026-11-23T10:00:00+01:00", 1795424400000),
        ("9999-12-31T23:59:59Z", 253402300799000),
    ],
)
def test_an_instant_is_read_to_the_millisecond(text, ms):
    assert Instant().deserialize(text) == ms
    assert Instant().deserialize(instant_text(ms)) == ms


@pytest.mark.parametrize(
    "text",
    ["1970-01-01T00:00:00+12:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "2026-11-23T09:00:00",
     "2026-11-23", "yesterday", 5, "2026-02-30T00:00:00Z"],
)  # fmt: skip
def test_an_instant_without_a_zone_or_outside_the_calendar_is_refused(text):
    with pytest.raises(ValidationError, match="RFC 3339"):
        Instant().deserialize(text)


def test_a_cursor_comes_back_as_it_went():
    assert read_cursor(write_cursor(("name", "id"), "list"), "list", tuple[str, str]) == ("name", "id")
    assert read_cursor(None, "list", str) is None


@pytest.mark.parametrize("position", [-1, 2**53 + 1, 2**64 - 1, "7", None, ["x"]])
def test_a_cursor_with_a_position_no_list_has_is_refused(position):
    with pytest.raises(InvalidRequest, match="no cursor of this API"):
        read_cursor(write_cursor(position, "list"), "list", Count)


class Small(Strict):
    name = Text(longest=5)


def test_only_so_many_unknown_fields_are_told():
    with pytest.raises(ValidationError) as refused:
        Small().load({f"field-{n}": 1 for n in range(MAX_UNKNOWN * 50)})
    assert len(refused.value.messages) == MAX_UNKNOWN
