"""Small files that are replaced as a whole: a checksum in front of their content."""

from __future__ import annotations

import zlib
from typing import Final

_CRC_BYTES: Final = 4


def with_checksum(content: bytes) -> bytes:
    """Return what to write: CRC-32, big-endian, then the content."""
    return zlib.crc32(content).to_bytes(_CRC_BYTES, "big") + content


def without_checksum(raw: bytes) -> bytes | None:
    """Return the content that was written, None when the bytes are not what they were."""
    content = raw[_CRC_BYTES:]
    return content if with_checksum(content) == raw else None
