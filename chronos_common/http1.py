"""HTTP/1.1 messages as the control port exchanges them (RFC 9112): a head, and a body whose length the head states.

Both ends are ours and say little, so little is understood: no chunks, no trailers, no continued lines. What is
not understood is refused, never guessed at. Bytes come from a function that is handed in; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_LENGTH_DIGITS: Final = 12
_RECEIVE_BYTES: Final = 64 * 1024
_MOST_AT_ONCE: Final = 1024 * 1024
_END: Final = b"\r\n\r\n"
_TOO_LONG: Final = f"the head takes more than {MAX_HEAD_BYTES} bytes"


class BadMessage(ValueError):
    """The other side sent something that is no message, or ended in the middle of one: then `status` is None."""

    def __init__(self, text: str, status: HTTPStatus | None = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(text)
        self.status = status


class Head(NamedTuple):
    """The first line, and the fields by their names in small letters."""

    start: str
    fields: dict[str, str]

    @property
    def length(self) -> int:
        """Bytes of the body; 0 if the head does not say.

        Raises:
            BadMessage: the length is not stated as a plain number.
        """
        text = self.fields.get("content-length", "0")
        if "transfer-encoding" in self.fields:
            raise BadMessage("the body comes in a transfer encoding; accepted is one of a stated length")
        if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_LENGTH_DIGITS):
            raise BadMessage(f"Content-Length is {text!r:.40}; accepted is a whole number")
        return int(text)

    @property
    def closes(self) -> bool:
        """Whether the sender will not use the connection again (RFC 9112, 9.3)."""
        said = self.fields.get("connection", "").lower()
        return said == "close" or ("HTTP/1.0" in self.start and said != "keep-alive")


class MessageReader:
    """Messages out of a stream. `receive(n)` returns up to n bytes, none at the stream's end."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._data = b""

    def head(self) -> Head | None:
        """The next head; None if the stream ended before its first byte.

        Raises:
            BadMessage: it is none, or longer than MAX_HEAD_BYTES.
        """
        while (end := self._data.find(_END)) < 0:
            if len(self._data) > MAX_HEAD_BYTES:
                raise BadMessage(_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if not (more := self._receive(_RECEIVE_BYTES)):
                if self._data:
                    raise BadMessage("the stream ended within a head", None)
                return None
            self._data += more
        raw, self._data = self._data[:end], self._data[end + len(_END) :]
        if len(raw) > MAX_HEAD_BYTES:
            raise BadMessage(_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return _head_of(raw)

    def body(self, length: int) -> bytes:
        """The `length` bytes after the head.

        Raises:
            BadMessage: the stream ended before.
        """
        if len(self._data) >= length:
            found, self._data = self._data[:length], self._data[length:]
            return found
        parts, missing = [self._data], length - len(self._data)
        self._data = b""
        while missing > 0:
            if not (more := self._receive(min(missing, _MOST_AT_ONCE))):
                raise BadMessage("the stream ended within a body", None)
            parts.append(more)
            missing -= len(more)
        return b"".join(parts)


def _head_of(raw: bytes) -> Head:
    start, *lines = raw.decode("latin-1").split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not name or name != name.strip() or key in fields:
            raise BadMessage(f"{line!r:.80} is no header field, or one given twice")
        fields[key] = value.strip()
    return Head(start, fields)


def message(start: str, fields: dict[str, str], body: bytes) -> bytes:
    """A whole message, to be sent at once: in two parts it would wait for acknowledgements in between."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{start}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body
