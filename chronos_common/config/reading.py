"""From plain YAML values to the structs of `keys`, collecting every problem with its path."""

from __future__ import annotations

import enum
import reprlib
import types
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from chronos_common.config.keys import Bounds, DurationMs, Peer
from chronos_common.durations import InvalidDuration, format_duration, parse_duration_ms

_SECRETS = ("secret", "hash")
_MASK = "********"
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100
"""Shows a value that may be large, or deep, in one line."""


class Reader:
    """Reads values of annotated types; `problems` holds what could not be read."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(  # noqa: PLR0911 - one return for each kind of annotation
        self, value: Any, kind: Any, path: str, default: Any = None
    ) -> Any:
        """The value as `kind`, or `default` with a problem noted."""
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._marked(value, arguments[0], arguments[1], path, default)
        if origin is Literal:
            return self._one_of(value, arguments, path, default)
        if origin is tuple:
            return self._list(value, arguments[0], path, default)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._section(value, kind, path)
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
            chosen = self._one_of(value, tuple(item.value for item in kind), path, default)
            return kind(chosen)
        if kind is bool and isinstance(value, bool):
            return value
        if kind is str and isinstance(value, str):
            return value
        return self._wrong(path, value, {str: "a text", bool: "true or false"}[kind], default)

    def _section(self, value: Any, kind: type[msgspec.Struct], path: str) -> Any:
        if value is None:
            value = {}
        if kind is Peer and isinstance(value, str) and "=" in value:
            value = dict(zip(("id", "address"), value.split("=", 1), strict=True))
        if not isinstance(value, Mapping):
            self._wrong(path, value, "a mapping of keys", None)
            value = {}
        hints = get_type_hints(kind, include_extras=True)
        for key in value:
            if key not in hints:
                self._unknown(path, str(key), list(hints))
        given: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            here = f"{path}.{field.name}" if path else field.name
            if field.name in value:
                default = None if field.required else field.default
                given[field.name] = self.read(value[field.name], hints[field.name], here, default)
            elif field.required:
                self.problems.append(f"{here} is missing; every entry of {path} needs it")
                given[field.name] = ""
        return kind(**given)

    def _list(self, value: Any, kind: Any, path: str, default: Any) -> Any:
        if not isinstance(value, list):
            return self._wrong(path, value, "a list", default)
        return tuple(self.read(item, kind, f"{path}[{number}]", "") for number, item in enumerate(value))

    def _marked(self, value: Any, kind: Any, mark: Bounds | DurationMs, path: str, default: Any) -> Any:
        if isinstance(mark, DurationMs):
            try:
                return parse_duration_ms(value, minimum_ms=mark.low, maximum_ms=mark.high)
            except InvalidDuration:
                span = f"{format_duration(mark.low)} to {format_duration(mark.high)}"
                return self._wrong(path, value, f'a duration such as "30s", from {span}', default)
        accepted = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted) or not mark.low <= value <= mark.high:
            what = "a whole number" if kind is int else "a number"
            return self._wrong(path, value, f"{what} from {mark.low:g} to {mark.high:g}", default)
        return value

    def _one_of(self, value: Any, choices: tuple[Any, ...], path: str, default: Any) -> Any:
        return value if value in choices else self._wrong(path, value, f"one of {', '.join(choices)}", default)

    def _wrong(self, path: str, value: Any, accepted: str, default: Any) -> Any:
        given = _MASK if path.rpartition(".")[2] in _SECRETS else _short.repr(value)
        self.problems.append(f"{path or 'the file'} is {given}; accepted is {accepted}")
        return default

    def _unknown(self, path: str, key: str, known: list[str]) -> None:
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here are {', '.join(known)}"
        self.problems.append(f"{path + '.' if path else ''}{key} is not a key of the configuration; {hint}")


def variables(kind: Any, path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Environment variable names of every key below `kind`: CHRONOS_ and the path in capitals."""
    found: dict[str, tuple[str, ...]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        here = (*path, name)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found |= variables(hint, here)
        else:
            found["CHRONOS_" + "_".join(here).upper()] = here
    return found


def is_text(kind: Any, path: tuple[str, ...]) -> bool:
    """Whether the key at `path` takes text as it is, so that an override of it is not read as YAML."""
    for name in path:
        kind = get_type_hints(kind, include_extras=True)[name]
    origin = get_origin(kind)
    if origin is Annotated:
        return isinstance(get_args(kind)[1], DurationMs)
    return origin not in (tuple, Union, types.UnionType) and kind is not bool
