"""A child of the dispatch pool: reads deliveries from a pipe, sends them, writes results back.

Started by `pool` as `python -m chronos_worker.dispatch.worker_process FD`; the first frame on the
socket FD is the `DispatchSettings`. It ends when the other end of the socket is closed, so it never
outlives its node, and ignores SIGINT and SIGTERM, so that a terminal's Ctrl-C or a service manager's
stop reaches the node alone, which then drains.
"""

from __future__ import annotations

import resource
import select
import signal
import socket
import sys
import time
from collections import OrderedDict
from typing import Final

import msgspec

from chronos_common.garbage import collect_seldom
from chronos_worker.dispatch.channel import RESULTS_PER_FRAME, FrameReader, frame
from chronos_worker.dispatch.exchange import Exchange, Hop
from chronos_worker.dispatch.gate import TICK_S, HostGate
from chronos_worker.dispatch.http import Transfers, host_bound
from chronos_worker.dispatch.messages import (
    Assignment,
    AttemptKey,
    DeliveryResult,
    Instructions,
    Results,
)
from chronos_worker.dispatch.own_endpoints import OwnEndpoints
from chronos_worker.dispatch.registry import prepare_encoded
from chronos_worker.dispatch.request import InvalidTarget, PreparedTarget, Request
from chronos_worker.dispatch.settings import DispatchSettings
from chronos_worker.dispatch.verdict import Reason, judge_failure

_READ_BYTES: Final = 1 << 18
_STARTS_PER_TURN: Final = 128
"""Bound of requests begun between two looks at the sockets."""
_PREPARED_TARGETS: Final = 2_048
_OVERDUE_EVERY_S: Final = 0.25


class Sender:
    """Deliveries in, results out; no pipe. `turn` is one pass of the loop and never waits."""

    def __init__(self, settings: DispatchSettings, transfers: Transfers) -> None:
        self._settings = settings
        self._transfers = transfers
        self._gate = HostGate(host_bound(settings))
        self._running: dict[AttemptKey, Exchange] = {}
        self._prepared: OrderedDict[bytes, PreparedTarget] = OrderedDict()
        self._results: list[DeliveryResult] = []
        self._tick_at = self._overdue_at = 0.0

    def accept(self, instructions: Instructions) -> None:
        """Take in deliveries and aborts."""
        for delivery in instructions.start:
            self._accept(delivery)
        for key in instructions.abort:
            self._abort(key)

    def turn(self) -> list[DeliveryResult]:
        """Start what may start, move what is moving; gives what has ended."""
        for _ in range(_STARTS_PER_TURN):
            exchange = self._gate.take()
            if exchange is None:
                break
            self._running[exchange.key] = exchange
            self._send(exchange, exchange.begin(time.monotonic(), wall_ms()))
        for key, hop in self._transfers.turn():
            self._on_hop(self._running[key], hop)
        self._widen_and_expire()
        ended, self._results = self._results, []
        return ended

    def due_in_s(self) -> float | None:
        """How long `turn` may be put off when nothing is readable; None: until then."""
        if self._gate.has_ready:
            return 0.0
        due = self._transfers.due_in_s(time.monotonic())
        if not self._gate.waiting:
            return due
        return TICK_S if due is None else min(TICK_S, due)

    def _accept(self, delivery: Assignment) -> None:
        try:
            prepared = self._prepare(bytes(delivery.target))
        except InvalidTarget as problem:
            self._results.append(_unsendable(delivery, str(problem)))
            return
        self._gate.add(Exchange(delivery, prepared, self._settings, time.monotonic()))

    def _prepare(self, encoded: bytes) -> PreparedTarget:
        prepared = self._prepared.get(encoded)
        if prepared is None:
            prepared = self._prepared[encoded] = prepare_encoded(encoded)
            if len(self._prepared) > _PREPARED_TARGETS:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(encoded)
        return prepared

    def _abort(self, key: AttemptKey) -> None:
        exchange = self._gate.withdraw(key)
        if exchange is None and self._transfers.abort(key):
            exchange = self._running.pop(key)
            self._gate.ended(exchange)
        if exchange is not None:
            self._fail(exchange, Reason.ABORTED, "the attempt was cancelled and its request aborted")

    def _send(self, exchange: Exchange, request: Request) -> None:
        self._transfers.start(exchange.key, request, exchange.remaining_ms(time.monotonic()))

    def _on_hop(self, exchange: Exchange, hop: Hop) -> None:
        step = exchange.after(hop, time.monotonic(), wall_ms())
        if isinstance(step, Request):
            self._send(exchange, step)
            return
        del self._running[exchange.key]
        self._gate.ended(exchange)
        self._results.append(step)

    def _widen_and_expire(self) -> None:
        now_s = time.monotonic()
        if not self._gate.waiting or now_s < self._tick_at:
            return
        self._tick_at = now_s + TICK_S
        self._gate.tick()
        if now_s >= self._overdue_at:
            self._overdue_at = now_s + _OVERDUE_EVERY_S
            for exchange in self._gate.overdue(now_s):
                self._fail(exchange, Reason.HOST_BUSY, f"waited longer than its timeout for one of "
                           f"{host_bound(self._settings)} connections to {exchange.host}")  # fmt: skip

    def _fail(self, exchange: Exchange, reason: Reason, error: str) -> None:
        self._results.append(exchange.failed(reason, error, time.monotonic(), wall_ms()))


class Pipe:
    """The child's end of the socket to its pool, never blocking."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader()
        self._unsent = bytearray()

    @property
    def has_unsent(self) -> bool:
        """Whether writing must go on when the pool has read."""
        return bool(self._unsent)

    def receive(self) -> list[bytes] | None:
        """The messages that have arrived; None when the pool is gone."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return self._reader.feed(data) if data else None

    def send(self, results: list[DeliveryResult]) -> None:
        """Queue results and write what the pool can take at once."""
        for start in range(0, len(results), RESULTS_PER_FRAME):
            batch = Results(results[start : start + RESULTS_PER_FRAME])
            self._unsent += frame(msgspec.msgpack.encode(batch))
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except ConnectionError:
                self._unsent.clear()  # the pool is gone; `receive` will say so
                return
            del self._unsent[:sent]


def wall_ms() -> int:
    """The wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def serve(sock: socket.socket) -> None:
    """Work until the pool closes its end."""
    pipe = Pipe(sock)
    messages: list[bytes] | None
    settings, messages = _first_settings(pipe, sock)
    if settings is None:
        return
    policy = OwnEndpoints(settings.addresses)
    policy.start()
    transfers = Transfers(settings, policy.refusal)
    sender = Sender(settings, transfers)
    decoder = msgspec.msgpack.Decoder(Instructions)
    poller = select.poll()
    poller.register(transfers.fileno(), select.POLLIN)
    while messages is not None:
        for message in messages:
            sender.accept(decoder.decode(message))
        pipe.send(sender.turn())
        due_s = sender.due_in_s()
        poller.register(sock, select.POLLIN | (select.POLLOUT if pipe.has_unsent else 0))
        poller.poll(None if due_s is None else -(-due_s * 1_000 // 1))
        messages = pipe.receive()


def _first_settings(pipe: Pipe, sock: socket.socket) -> tuple[DispatchSettings | None, list[bytes]]:
    """Wait for the frame that configures this process; what came with it is handed on."""
    messages: list[bytes] | None = []
    while messages is not None:
        if messages:
            return msgspec.msgpack.decode(messages[0], type=DispatchSettings), messages[1:]
        select.select([sock], [], [])
        messages = pipe.receive()
    return None, []


def _unsendable(delivery: Assignment, problem: str) -> DeliveryResult:
    judged, now = judge_failure(Reason.INVALID_TARGET), wall_ms()
    return DeliveryResult(
        execution_id=delivery.execution_id,
        attempt=delivery.attempt,
        status=judged.status,
        retryable=judged.retryable,
        started_at=now,
        finished_at=now,
        error_code=judged.reason,
        error=problem,
    )


def main(descriptor: int) -> None:
    """Run as a child on an inherited socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    collect_seldom()
    with socket.socket(fileno=descriptor) as sock:
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
