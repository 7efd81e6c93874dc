"""Processes that the bench starts: each in a group of its own, none outlives us."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from bench.machine import REPOSITORY, children

T = TypeVar("T")
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class BenchFailed(Exception):
    """A measurement that means nothing: something did not start, end or answer."""


class Process:
    """A running program; its output goes to a file."""

    def __init__(self, argv: Sequence[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CHRONOS_")}
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                cwd=REPOSITORY,
                env={**environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - takes no lock
            )

    @property
    def pid(self) -> int:
        """The process itself."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def family(self) -> list[int]:
        """The process and those it started."""
        return [self.pid, *children(self.pid)]

    def terminate(self, timeout_s: float) -> None:
        """As an operator would.

        Raises:
            BenchFailed: it did not end in time, or not well.
        """
        self._popen.terminate()
        try:
            status = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"{' '.join(self.argv)} did not end within {timeout_s} s") from None
        if status not in (0, -signal.SIGTERM):
            raise BenchFailed(f"{' '.join(self.argv)} ended with status {status}:\n{self.tail()}")

    def kill(self) -> None:
        """As a power cut would: it and what it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.running:
            self.kill()

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def free_port() -> int:
    """A port of loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(
    condition: Callable[[], T | None],
    what: str,
    timeout_s: float = 60.0,
    *,
    every_s: float = 0.02,
    process: Process | None = None,
) -> T:
    """The first true value of `condition`.

    Raises:
        BenchFailed: there was none in time, or `process` ended meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        if process is not None and not process.running:
            raise BenchFailed(f"{what}: {' '.join(process.argv)} has ended:\n{process.tail()}")
        time.sleep(every_s)
    raise BenchFailed(f"not within {timeout_s:g} s: {what}")


def sleep_until(instant_ms: float) -> None:
    """Wait for an instant of the wall clock."""
    while (left_s := instant_ms / 1_000 - time.time()) > 0:
        time.sleep(left_s)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
