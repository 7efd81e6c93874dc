"""The bytes of the journal: a header that says where it begins, then one record per entry.

    header  magic(8) base_index(8) base_term(8) crc32(4)
    record  crc32(4) length(4) index(8) term(8) synced(8) payload(length)

`crc32` covers everything after itself. `synced` is how many bytes of this file were known durable when the
record was packed: a damaged record in front of one whose `synced` lies beyond the damage cannot be a torn
write, it is corruption of bytes that were promised.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

_NAME: Final = b"CHRJNL\x00"
FORMAT: Final = 1
"""The version of this layout: the last byte of the magic."""
MAGIC: Final = _NAME + bytes([FORMAT])
_HEADER: Final = struct.Struct("<8sQQI")
_CRC: Final = struct.Struct("<I")
_FIELDS: Final = struct.Struct("<IQQQ")
HEADER_BYTES: Final = _HEADER.size
RECORD_OVERHEAD: Final = _CRC.size + _FIELDS.size


@dataclass(frozen=True, slots=True)
class Record:
    """One record as found in the file; `end` is the offset after it."""

    index: int
    term: int
    synced: int
    payload: bytes
    end: int


def pack_header(base_index: int, base_term: int) -> bytes:
    """Return the header of a journal whose first entry follows (base_index, base_term)."""
    body = _HEADER.pack(MAGIC, base_index, base_term, 0)[: -_CRC.size]
    return body + _CRC.pack(zlib.crc32(body))


def read_header(data: bytes) -> tuple[int, int] | None:
    """Return (base_index, base_term), or None when the header is damaged or not ours."""
    return _HEADER.unpack_from(data)[1:3] if _is_header(data, FORMAT) else None


def newer_format(data: bytes) -> int | None:
    """Return the format of a journal that a later version wrote, else None. Every format begins with this header."""
    written_in = data[len(_NAME)] if len(data) > len(_NAME) else 0
    return written_in if written_in > FORMAT and _is_header(data, written_in) else None


def _is_header(data: bytes, written_in: int) -> bool:
    if len(data) < HEADER_BYTES:
        return False
    magic, _, _, crc = _HEADER.unpack_from(data)
    return bool(magic == _NAME + bytes([written_in]) and zlib.crc32(data[: HEADER_BYTES - _CRC.size]) == crc)


def pack_record(index: int, term: int, synced: int, payload: bytes) -> bytes:
    """Return one record."""
    body = _FIELDS.pack(len(payload), index, term, synced) + payload
    return _CRC.pack(zlib.crc32(body)) + body


def read_record(data: bytes, offset: int) -> Record | None:
    """Return the record at `offset`, or None when it is incomplete or damaged."""
    start = offset + RECORD_OVERHEAD
    if start > len(data):
        return None
    (crc,) = _CRC.unpack_from(data, offset)
    length, index, term, synced = _FIELDS.unpack_from(data, offset + _CRC.size)
    end = start + length
    if end > len(data) or zlib.crc32(memoryview(data)[offset + _CRC.size : end]) != crc:
        return None
    return Record(index, term, synced, data[start:end], end)


def promised_beyond(data: bytes, damage: int) -> bool:
    """Tell whether any intact record after `damage` proves that the damaged bytes were once durable."""
    for offset in range(damage + 1, len(data) - RECORD_OVERHEAD + 1):
        length, _, _, synced = _FIELDS.unpack_from(data, offset + _CRC.size)
        plausible = damage < synced <= offset and offset + RECORD_OVERHEAD + length <= len(data)
        if plausible and read_record(data, offset) is not None:
            return True
    return False
