"""Identifiers that sort by time.

All ids are UUIDs whose first 48 bits are a Unix time in milliseconds, so that rows made together lie
together in an index and ordering by id is ordering by time (RFC 9562, versions 7 and 8).
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable
from typing import Final

_MASK_74: Final = (1 << 74) - 1
_VARIANT: Final = 0b10
_BYTES: Final = 16
_TEXT_LENGTH: Final = 36


def _assemble(unix_ms: int, version: int, low74: int) -> bytes:
    high12, low62 = low74 >> 62, low74 & ((1 << 62) - 1)
    value = (unix_ms & ((1 << 48) - 1)) << 80 | version << 76 | high12 << 64 | _VARIANT << 62 | low62
    return value.to_bytes(16, "big")


def occurrence_id(job_id: bytes, fire_time: int) -> bytes:
    """The id of the execution that answers `fire_time` of a job: always the same (UUIDv8).

    74 bits of SHA-256 over (job, fire time) follow the fire time, so a repeat can be told from a new
    run by whoever computes it, on any node, in any year.
    """
    digest = hashlib.sha256(job_id + fire_time.to_bytes(8, "big", signed=True)).digest()
    return _assemble(fire_time, 8, int.from_bytes(digest[:10], "big") & _MASK_74)


def minted_id(unix_ms: int, random_bits: Callable[[int], int]) -> bytes:
    """A fresh id (UUIDv7); `random_bits(n)` gives n random bits, e.g. `secrets.randbits`."""
    return _assemble(unix_ms, 7, random_bits(74))


def to_text(raw: bytes) -> str:
    """The usual spelling of an id."""
    # as str(uuid.UUID(bytes=raw)), at a tenth of its price: thousands are written every second
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def from_text(text: str) -> bytes | None:
    """The bytes of an id as users write it, or None if it is none."""
    # the usual spelling at a fifth of the price; what is not of it is for the library to judge
    if len(text) == _TEXT_LENGTH and text[8] == text[13] == text[18] == text[23] == "-":
        with contextlib.suppress(ValueError):
            raw = bytes.fromhex(text.replace("-", ""))
            if len(raw) == _BYTES:
                return raw
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None


def first_id_at(unix_ms: int) -> bytes:
    """The smallest id of a millisecond: the bound of a time range in id order."""
    return unix_ms.to_bytes(6, "big") + bytes(10)
