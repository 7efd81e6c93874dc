"""One connection to a peer: non-blocking bytes below, authenticated frames above."""

from __future__ import annotations

import enum
import selectors
import socket
import ssl
from typing import TYPE_CHECKING, Final

import msgspec

from chronos_worker.raft.frames import FrameReader, FrameTooLarge, frame
from chronos_worker.raft.greeting import MAX_GREETING_BYTES, Hello, Refusal, Refused, decode_greeting
from chronos_worker.raft.messages import MalformedMessage, decode
from chronos_worker.raft.sealing import OVERHEAD_BYTES, BadSeal, Session
from chronos_worker.raft.tls import named_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from chronos_worker.raft.config import Limits
    from chronos_worker.raft.messages import Message

_READ_BYTES: Final = 256 << 10
_READS_PER_TURN: Final = 16
_CONNECT: Final = selectors.EVENT_WRITE


class Stage(enum.Enum):
    """How far a link has come."""

    CONNECTING = "connecting"
    SECURING = "securing"
    PREAMBLE = "preamble"
    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


class LinkBroken(Exception):
    """The link has to be closed. `reason` counts; None when the peer just went away."""

    def __init__(self, reason: str | None, text: str = "") -> None:
        super().__init__(text or reason or "closed by the peer")
        self.reason = reason


class Link:
    """A connection from its first byte to its last.

    Args:
        connection: a non-blocking socket, connecting or accepted.
        session: how frames are protected.
        tls: the context that wraps the connected socket, None without TLS.
        hello: returns our greeting.
        judge: returns the peer's id for its greeting and its certified names, or raises `Refused`.
        limits: bounds on frames and buffers.
        address: where the other end is, for messages.
        dialled: whom we called, None when we were called.
        now: the clock's reading.
    """

    def __init__(
        self,
        connection: socket.socket,
        session: Session,
        tls: ssl.SSLContext | None,
        hello: Callable[[], Hello],
        judge: Callable[[Hello | Refusal, frozenset[str] | None], str],
        limits: Limits,
        *,
        address: str,
        dialled: str | None,
        now: float,
    ) -> None:
        dialing = dialled is not None
        self.connection = connection
        self.address = address
        self.dialled = dialled
        self.peer: str | None = None
        self.instance = ""
        self.members_version = (0, 0)
        self.stage = Stage.CONNECTING if dialing else Stage.SECURING
        self.since = self.heard_at = self.said_at = now
        self._session = session
        self._tls = tls
        self._hello = hello
        self._judge = judge
        self._limits = limits
        self._dialing = dialing
        self._reader = FrameReader(MAX_GREETING_BYTES)
        self._out = bytearray()
        self._tls_wants_write = False
        self.has_more = False

    @property
    def interest(self) -> int:
        """What to wait for, as a selector's mask."""
        if self.stage is Stage.CONNECTING:
            return _CONNECT
        writes = self._out and self.stage is not Stage.SECURING
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writes or self._tls_wants_write else 0)

    def advance(self, now: float) -> list[Message]:
        """Do what the socket allows and return the messages that came.

        Raises:
            LinkBroken: the link is over.
        """
        messages: list[Message] = []
        try:
            if self.stage is Stage.CONNECTING:
                self._finish_connecting()
            if self.stage is Stage.SECURING and not self._finish_securing():
                return messages
            self._read(now, messages)
            self.flush()
        except BadSeal as error:
            raise LinkBroken("bad_seal" if self.stage is Stage.OPEN else "not_authentic", str(error)) from error
        except FrameTooLarge as error:
            raise LinkBroken("oversized", str(error)) from error
        except MalformedMessage as error:
            raise LinkBroken("malformed", str(error)) from error
        except ssl.SSLError as error:
            raise LinkBroken("tls", str(error)) from error
        except OSError as error:
            raise self._ended(str(error)) from error
        return messages

    def send(self, body: bytes, now: float) -> None:
        """Queue one frame on an open link.

        Raises:
            LinkBroken: the peer takes too little; what waits exceeds the bound.
        """
        self.said_at = now
        self._out += frame(self._session.seal(body))
        if len(self._out) > self._limits.send_buffer_bytes:
            raise LinkBroken("slow_peer", f"{len(self._out)} bytes wait for {self.peer!r}")

    def flush(self) -> None:
        """Write what the socket takes now. Errors show at the next `advance`.

        Raises:
            OSError: the connection is gone.
        """
        while self._out:
            try:
                sent = self.connection.send(memoryview(self._out)[:_READ_BYTES])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del self._out[:sent]

    def close(self) -> None:
        """Close the socket."""
        self.stage = Stage.CLOSED
        self.connection.close()

    # -- stages -------------------------------------------------------------------------------------------

    def _finish_connecting(self) -> None:
        code = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connection failed")
        self.stage = Stage.SECURING

    def _finish_securing(self) -> bool:
        """Complete TLS when there is any, then speak first or wait."""
        self._tls_wants_write = False
        if self._tls is not None:
            if not isinstance(self.connection, ssl.SSLSocket):
                self.connection = self._tls.wrap_socket(
                    self.connection, server_side=not self._dialing, do_handshake_on_connect=False
                )
            try:
                self.connection.do_handshake()
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLWantWriteError:
                self._tls_wants_write = True
                return False
        self.stage = Stage.GREETING if self._session.preamble is None else Stage.PREAMBLE
        if self._dialing and self._session.preamble is not None:
            self._out += frame(self._session.preamble)
        elif self._dialing:
            self._greet()
        return True

    def _read(self, now: float, messages: list[Message]) -> None:
        self.has_more = False
        for _ in range(_READS_PER_TURN):
            try:
                data = self.connection.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                raise self._ended("closed by the other side")
            self._reader.feed(data)
            while (body := self._reader.next()) is not None:
                self._take(body, now, messages)
        self.has_more = True

    def _take(self, body: bytes, now: float, messages: list[Message]) -> None:
        if self.stage is Stage.PREAMBLE:
            self._session.take_preamble(body)
            self.stage = Stage.GREETING
            if self._dialing:
                self._greet()
            elif self._session.preamble is not None:
                self._out += frame(self._session.preamble)
        elif self.stage is Stage.GREETING:
            self._take_greeting(self._session.open(body), now)
        else:
            plain = self._session.open(body)
            self.heard_at = now
            if plain:  # an empty frame only says that the peer is alive
                messages.append(decode(plain))

    def _ended(self, how: str) -> LinkBroken:
        """Say what it means that the connection is over: a peer that left is nothing to count."""
        if self.stage is Stage.OPEN:
            return LinkBroken("truncated" if self._reader.is_mid_frame else None, how)
        if not self._dialing:
            return LinkBroken("handshake_abandoned", f"{how} before it had greeted")
        if self.stage is Stage.CONNECTING:
            return LinkBroken(None, how)
        return LinkBroken("handshake_abandoned", f"{how} at our greeting; is its secret or its CA another one?")

    def _greet(self) -> None:
        self._out += frame(self._session.seal(msgspec.msgpack.encode(self._hello())))

    def _take_greeting(self, body: bytes, now: float) -> None:
        greeting = decode_greeting(body)
        certified = named_nodes(self.connection) if isinstance(self.connection, ssl.SSLSocket) else None
        try:
            peer = self._judge(greeting, certified)
        except Refused as refused:
            if not self._dialing:
                answer = msgspec.msgpack.encode(Refusal(refused.reason, refused.text[:512]))
                self._out += frame(self._session.seal(answer))
                self.flush()
            raise LinkBroken(refused.reason, refused.text) from refused
        if not self._dialing:
            self._greet()
        if isinstance(greeting, Hello):
            self.instance, self.members_version = greeting.instance, greeting.members_version
        self.peer = peer
        self.stage = Stage.OPEN
        self.heard_at = self.said_at = now
        self._reader.max_bytes = self._limits.frame_bytes + OVERHEAD_BYTES
