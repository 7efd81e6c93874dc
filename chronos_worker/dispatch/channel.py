"""PURE: frames on the pipe between the pool and its children: four bytes of length, then msgpack."""

from __future__ import annotations

from typing import Final

PREFIX_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 64 << 20
DELIVERIES_PER_FRAME: Final = 128
"""A payload is bounded by a log entry (256 KiB), so a frame stays below `MAX_FRAME_BYTES`."""
RESULTS_PER_FRAME: Final = 256


class FrameTooLarge(Exception):
    """The other side is not speaking this protocol."""


def frame(message: bytes) -> bytes:
    """`message` with its length before it."""
    return len(message).to_bytes(PREFIX_BYTES, "big") + message


class FrameReader:
    """Cuts a byte stream into messages, however the bytes arrive."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in some bytes; gives the messages that are complete.

        Raises:
            FrameTooLarge: a length beyond the bound.
        """
        self._rest += data
        messages = []
        start = 0
        while len(self._rest) - start >= PREFIX_BYTES:
            begin = start + PREFIX_BYTES
            length = int.from_bytes(self._rest[start:begin], "big")
            if length > MAX_FRAME_BYTES:
                raise FrameTooLarge(f"a frame of {length} bytes; accepted are {MAX_FRAME_BYTES}")
            if len(self._rest) < begin + length:
                break
            messages.append(bytes(self._rest[begin : begin + length]))
            start = begin + length
        del self._rest[:start]
        return messages
