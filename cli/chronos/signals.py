"""Signals as something a loop can wait for."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Counts requests to stop, and ends a wait when one comes or a child ends. The main thread's only."""

    def __init__(self) -> None:
        self.stops = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _STOP:
            self._handle(number, self._stop)
        self._handle(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float | None) -> None:
        """Until a signal arrives, at most `seconds`; None: as long as it takes."""
        if select.select([self._reader], [], [], seconds)[0]:
            self._reader.recv(4_096)

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._previous[number] = signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1
