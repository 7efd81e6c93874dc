"""One program as a child process: started, watched, ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cli.chronos.restarts import Restarts

_PRIVATE: Final = 0o077
"""Files a node makes are for its own user."""
_PR_SET_PDEATHSIG: Final = 1


def nothing() -> None:
    """Nothing has to be done before."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `is_ready` asks it from outside; `prepare` runs before each start; `grace_s` bounds its end."""

    name: str
    argv: tuple[str, ...]
    is_ready: Callable[[], bool]
    grace_s: float
    prepare: Callable[[], None] = nothing
    restarts: Restarts = field(default_factory=Restarts)


class Child:
    """The lives of one program. It has a process group of its own, so a terminal's Ctrl-C reaches only us."""

    def __init__(self, program: Program, environ: Mapping[str, str]) -> None:
        self.program = program
        self.ready = False
        self.was_ready = False
        self.start_at = 0.0
        """Not to be started before this, in the supervisor's seconds."""
        self.started_at = 0.0
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process, if there is one."""
        return self._process.pid if self._process else None

    def start(self, now: float) -> None:
        """Begin a life.

        Raises:
            OSError: the program cannot be run.
        """
        self.program.prepare()
        # preexec_fn is safe here: the supervisor has one thread.
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            self.program.argv,
            stdin=subprocess.DEVNULL,
            env=self._environ,
            process_group=0,
            umask=_PRIVATE,
            preexec_fn=_follow_parent(os.getpid()),  # noqa: PLW1509
        )
        self.started_at = now

    def ended(self) -> int | None:
        """The status of a life that has just ended, told once; 128 + n for one ended by signal n."""
        status = self._process.poll() if self._process else None
        if status is None:
            return None
        self._process = None
        self.ready = False
        return status if status >= 0 else 128 - status

    def look(self) -> None:
        """Ask whether it is ready, if that is not known yet."""
        if self._process and not self.ready:
            self.ready = self.program.is_ready()
            self.was_ready |= self.ready

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End it and what it started, at once."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _follow_parent(parent: int) -> Callable[[], None]:
    """For a new process: be terminated (drain) when the supervisor dies without a word. Linux only."""
    if sys.platform != "linux":
        return nothing
    prctl = ctypes.CDLL(None).prctl

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return follow
