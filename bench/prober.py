"""Requests to the API at a fixed pace beside another load, each timed from the moment it was due.

So a stall counts for every request that fell into it, not for one (no coordinated omission).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from bench.client import Answer, Client
from bench.processes import BenchFailed

Ask = Callable[[Client, int], Answer]
"""Sends the n-th request."""


class Prober:
    """Several connections that share a pace; runs for as long as the block does."""

    def __init__(
        self, connect: Callable[[], Client], ask: Ask, *, rate_per_s: float, connections: int = 4, status: int = 200
    ) -> None:
        self.took_ms: list[float] = []
        self._connect = connect
        self._ask = ask
        self._period_s = 1 / rate_per_s
        self._connections = connections
        self._status = status
        self._over = threading.Event()
        self._failures: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(connections)]

    def __enter__(self) -> Self:
        self._begun = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failures and error is None:
            raise BenchFailed(f"{len(self._failures)} request(s) failed, the first: {self._failures[0]}")

    def _run(self, number: int) -> None:
        with self._connect() as client:
            turn = number
            while not self._over.is_set():
                due = self._begun + turn * self._period_s
                if (wait_s := due - time.perf_counter()) > 0 and self._over.wait(wait_s):
                    return
                self._one(client, turn, due)
                turn += self._connections

    def _one(self, client: Client, turn: int, due: float) -> None:
        try:
            answer = self._ask(client, turn)
        except (OSError, http.client.HTTPException) as error:
            self._failures.append(f"{type(error).__name__}: {error}")
            client.close()
            return
        self.took_ms.append((time.perf_counter() - due) * 1_000)
        if answer.status != self._status:
            self._failures.append(f"{answer.status}: {answer.body[:200]!r}")


def pages(paths: Sequence[str]) -> Ask:
    """Reads that go round a list of paths."""
    return lambda client, turn: client.ask("GET", paths[turn % len(paths)])
