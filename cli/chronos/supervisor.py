"""Programs started one after the other, kept running, and ended in the opposite order.

One thread and no polling once everything is ready: the loop sleeps until a signal says that something happened.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chronos_common.config import InvalidConfig
from cli.chronos.child import Child, Program
from cli.chronos.signals import Signals

_LOOK_S: Final = 0.1
"""Between two questions whether a starting program is ready."""
CANNOT_RUN: Final = 71
"""The exit status for a program the machine cannot start (sysexits' EX_OSERR)."""
KILLED: Final = 1
"""The exit status when something did not end in its grace and had to be killed."""
_AS_ASKED: Final = (0, 128 + signal.SIGTERM)
"""How a program ends that was told to; the latter if it had not even begun to listen."""


class Supervisor:
    """Runs `programs` until told to stop, or until one of them is beyond help.

    Each starts when the one before it is ready. `announce` is called once, when all are. `log` is told what
    happens.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environ: Mapping[str, str],
        log: Any,
        announce: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = [Child(program, environ) for program in programs]
        self._log = log
        self._announce: Callable[[], None] | None = announce
        self._clock = clock
        self._failure: int | None = None

    def run(self) -> int:
        """Until the end; returns the exit status: 0 after a drain, else that of the program that failed."""
        with Signals() as signals:
            try:
                while not signals.stops and self._failure is None:
                    signals.wait(self._turn())
                drained = self._drain(signals)
            finally:
                for child in self._children:
                    child.kill()
        return drained if self._failure is None else self._failure

    def _turn(self) -> float | None:
        """See what ended, start what is due; returns for how long nothing is to be done."""
        now = self._clock()
        for child in self._children:
            if (status := child.ended()) is not None:
                self._bury(child, status, now)
        _reap_orphans({child.pid for child in self._children})
        pauses = []
        for child in self._children:
            if self._failure is not None:
                return 0.0
            if child.pid is None and now >= child.start_at:
                self._start(child, now)
            child.look()
            if child.pid is None:
                pauses.append(child.start_at - now)
            elif not child.ready:
                pauses.append(_LOOK_S)
            if not child.was_ready:
                break
        else:
            self._tell()
        return max(0.0, min(pauses)) if pauses else None

    def _start(self, child: Child, now: float) -> None:
        try:
            child.start(now)
        except OSError as error:
            self._give_up(child, CANNOT_RUN, str(error))
        except InvalidConfig as error:
            self._give_up(child, 2, str(error))
        else:
            self._log.info("program_started", program=child.program.name, pid=child.pid)

    def _bury(self, child: Child, status: int, now: float) -> None:
        pause = child.program.restarts.pause_s(status, now - child.started_at)
        if pause is None:
            self._give_up(child, status, "it said why just above" if status else "it ends as soon as it has begun")
            return
        child.start_at = now + pause
        self._log.warning("program_ended", program=child.program.name, status=status, restart_in_s=pause)

    def _give_up(self, child: Child, status: int, reason: str) -> None:
        self._failure = status or KILLED
        self._log.error("program_given_up", program=child.program.name, status=status, reason=reason)

    def _tell(self) -> None:
        if self._announce is not None:
            self._announce()
            self._announce = None

    def _drain(self, signals: Signals) -> int:
        """End the programs, last started first; a second request to stop ends them at once."""
        outcome = 0
        asked = signals.stops
        for child in reversed(self._children):
            if child.pid is None:
                continue
            self._log.info("program_draining", program=child.program.name, grace_s=child.program.grace_s)
            child.terminate()
            deadline = self._clock() + child.program.grace_s
            status = child.ended()
            while status is None and self._clock() < deadline and signals.stops == asked:
                signals.wait(max(0.0, deadline - self._clock()))
                status = child.ended()
            if status is None:
                self._log.warning("program_killed", program=child.program.name)
                child.kill()
                status = child.ended()
            outcome = outcome or (0 if status in _AS_ASKED else KILLED)
        return outcome


def _reap_orphans(ours: set[int | None]) -> None:
    """Collect what was left to us by programs that died: in a container this process is the first of all."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        os.waitpid(found.si_pid, os.WNOHANG)
