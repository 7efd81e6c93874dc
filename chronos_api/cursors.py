"""Opaque positions in a list: where it goes on, and a digest of which list it was."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any

import msgspec

from chronos_common.errors import InvalidRequest, Violation

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Any number a position may hold."""


def write_cursor(position: Any, of: Any) -> str:
    """A cursor for `position` in the list that `of` (filters, sort) describes."""
    raw = msgspec.msgpack.encode((_digest(of), position))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_cursor(text: str | None, of: Any, kind: Any) -> Any:
    """The position a cursor names, of type `kind`; None without a cursor.

    Raises:
        InvalidRequest: it is no cursor, or one of another list.
    """
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        digest, position = msgspec.msgpack.decode(raw, type=tuple[bytes, msgspec.Raw])
        found = msgspec.msgpack.decode(position, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _refusal("is no cursor of this API") from None
    if digest != _digest(of):
        raise _refusal("comes from a list with other filters or another order")
    return found


def _digest(of: Any) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(of)).digest()[:6]


def _refusal(problem: str) -> InvalidRequest:
    return InvalidRequest(
        f"the cursor {problem}",
        violations=(
            Violation("#query/cursor", problem, "the next_cursor of the page before, with the same filters"),
        ),
    )
