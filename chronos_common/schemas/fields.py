"""Marshmallow fields whose refusals say what would be accepted.

A message is "problem; accepted: what"; `problems.flatten` takes the two halves apart.
"""

from __future__ import annotations

import datetime
import itertools
import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import orjson
from marshmallow import Schema, ValidationError, fields, validates_schema

from chronos_common.durations import InvalidDuration, format_duration, parse_duration_ms

_DIGITS: Final = re.compile(r"[0-9]{1,18}")
MAX_UNKNOWN: Final = 20
"""Unknown fields of one object that are reported. Looking for a near name is slow; a body may hold very many."""
MAX_INSTANT_MS: Final = 253_402_300_799_000
"""The end of the year 9999."""
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)


def refuse(problem: str, accepted: str) -> ValidationError:
    """A refusal in the two halves that users get to see."""
    return ValidationError(f"{problem}; accepted: {accepted}")


class Strict(Schema):
    """A schema that refuses unknown fields and names the nearest known one."""

    @validates_schema(pass_original=True, pass_collection=False, skip_on_field_errors=False)
    def _refuse_unknown(self, _data: Any, original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        known = [name for name, field in self.fields.items() if not field.dump_only]
        unknown = (str(name) for name in original if name not in known)
        errors = {}
        for name in itertools.islice(unknown, MAX_UNKNOWN):
            near = get_close_matches(name, known, n=1)
            hint = near[0] if near else ", ".join(known)
            errors[name] = [f"is not a field here; accepted: {hint}"]
        if errors:
            raise ValidationError(errors)

    class Meta:
        """Unknown fields are found by `_refuse_unknown`."""

        unknown = "exclude"


class Text(fields.Field[str]):
    """A bounded text without control characters; line breaks only where `multiline`."""

    def __init__(self, *, shortest: int = 0, longest: int, multiline: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shortest = shortest
        self._longest = longest
        self._multiline = multiline
        self.metadata = {"type": "string", "minLength": shortest, "maxLength": longest, **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        accepted = f"text of {self._shortest} to {self._longest} characters without control characters"
        if not isinstance(value, str):
            raise refuse(f"is {value!r:.60}, not text", accepted)
        if not self._shortest <= len(value) <= self._longest:
            raise refuse(f"has {len(value)} characters", accepted)
        if not value.isprintable() and any(not self._printable(character) for character in value):
            raise refuse("holds a control character", accepted)
        return value

    def _printable(self, character: str) -> bool:
        if self._multiline and character in "\n\t":
            return True
        return unicodedata.category(character) not in ("Cc", "Cs")


class Name(Text):
    """A name: text that does not begin or end with a space."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if text != text.strip():
            raise refuse("begins or ends with white space", "a name without it")
        return text


class Duration(fields.Field[int]):
    """Milliseconds inside, "5m" outside."""

    def __init__(self, *, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._low = low
        self._high = high
        self.metadata = {"type": "string", "example": "30s", **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        try:
            return parse_duration_ms(value, minimum_ms=self._low, maximum_ms=self._high)
        except InvalidDuration:
            span = f'"{format_duration(self._low)}" to "{format_duration(self._high)}"'
            raise refuse(f"is {value!r:.60}", f'a duration such as "30s" or "1h30m", {span}') from None

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str | None:
        return None if value is None else format_duration(value)


class Whole(fields.Field[int]):
    """A whole number within bounds; true and "3" are none. `as_text`: in a query, where all is text."""

    def __init__(self, *, low: int, high: int, as_text: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._as_text = as_text
        self._low = low
        self._high = high
        self.metadata = {"type": "integer", "minimum": low, "maximum": high, **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if self._as_text and isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self._low <= value <= self._high:
            raise refuse(f"is {value!r:.60}", f"a whole number from {self._low} to {self._high}")
        return value


class Number(fields.Field[float]):
    """A number within bounds."""

    def __init__(self, *, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._low = low
        self._high = high
        self.metadata = {"type": "number", "minimum": low, "maximum": high, **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._low <= value <= self._high:
            raise refuse(f"is {value!r:.60}", f"a number from {self._low:g} to {self._high:g}")
        return float(value)


class Payload(fields.Raw):
    """What is sent as a body: text, or any JSON value, up to so many bytes as it will be sent."""

    def __init__(self, *, largest: int, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)
        self._largest = largest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        size = len(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else orjson.dumps(value))
        if size > self._largest:
            raise refuse(f"takes {size} bytes", f"at most {self._largest}")
        return value


class Flag(fields.Field[bool]):
    """true or false; nothing that merely looks like it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {"type": "boolean", **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse(f"is {value!r:.60}", "true or false")
        return value


class Choice(fields.Field[str]):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._words = words
        self.metadata = {"type": "string", "enum": list(words), **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if value not in self._words:
            raise refuse(f"is {value!r:.60}", f"one of {', '.join(self._words)}")
        return str(value)


class Instant(fields.Field[int]):
    """Milliseconds since the epoch inside, RFC 3339 outside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {"type": "string", "format": "date-time", **self.metadata}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        try:
            moment = datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment = None
        if moment is not None and moment.tzinfo is not None:
            ms = (moment - _EPOCH) // _MILLISECOND
            if 0 <= ms <= MAX_INSTANT_MS:
                return ms
        raise refuse(f"is {value!r:.60}", "an RFC 3339 instant from 1970 on, such as 2026-11-23T09:00:00Z")

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str | None:
        return None if value is None else instant_text(value)


def instant_text(ms: int) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    moment = datetime.datetime.fromtimestamp(min(ms, MAX_INSTANT_MS) / 1_000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
