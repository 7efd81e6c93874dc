"""Length-prefixed frames over a byte stream: four bytes of length, then that many bytes."""

from __future__ import annotations

import struct
from typing import Final

_LENGTH: Final = struct.Struct(">I")


class FrameTooLarge(ValueError):
    """The announced length exceeds the bound of the moment; nothing after it can be trusted."""


class FrameReader:
    """Cuts a stream into frames. Costs are linear in the bytes fed, memory is bounded by one frame."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()

    @property
    def is_mid_frame(self) -> bool:
        """Whether bytes of an unfinished frame are held."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next whole frame, None while it is incomplete.

        Raises:
            FrameTooLarge: its length exceeds `max_bytes`.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self.max_bytes:
            raise FrameTooLarge(f"a frame of {length} bytes; at most {self.max_bytes} are accepted here")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        frame = bytes(memoryview(self._buffer)[_LENGTH.size : end])
        del self._buffer[:end]
        return frame


def frame(body: bytes) -> bytes:
    """Return `body` with its length in front."""
    return _LENGTH.pack(len(body)) + body
