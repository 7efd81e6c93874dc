"""From marshmallow's nested messages to violations with JSON pointers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from chronos_common.errors import Violation

_SEPARATOR: Final = "; accepted: "
_WHOLE: Final = "_schema"


def flatten(messages: Any, base: str = "") -> Iterator[Violation]:
    """Every violation, in order. Pointers are RFC 6901, below `base`."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            yield from flatten(inner, base if key == _WHOLE else f"{base}/{escape(str(key))}")
    elif isinstance(messages, list):
        for message in messages:
            yield from flatten(message, base)
    else:
        problem, _, accepted = str(messages).partition(_SEPARATOR)
        yield Violation(base, problem, accepted or None)


def escape(name: str) -> str:
    """A name as a token of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
