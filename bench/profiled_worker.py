"""`python -m bench.profiled_worker --config FILE`: a real worker whose main thread is sampled while it works.

A timer counts the process's processor time; at each tick the main thread notes its own stack, weighted with the
processor time the main thread itself has used since the last tick. So waiting costs nothing, other threads
distort nothing, and time inside SQLite counts for the line that called it. At the end the stacks are written to
the file named by the variable `PROFILE_TO`, one line each: microseconds, then frames from the outermost on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Final

import click

from bench.cluster import PROFILE_TO
from chronos_worker.__main__ import run

_TICK_S: Final = 0.002
Stack = tuple[str, ...]


class Sampler:
    """Stacks of the main thread, and the processor seconds each accounts for."""

    def __init__(self) -> None:
        self.seconds: defaultdict[Stack, float] = defaultdict(float)
        self._last = time.thread_time()

    def start(self) -> None:
        """Begin; call from the main thread."""
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, _TICK_S, _TICK_S)

    def stop(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _tick(self, _number: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        frames: list[str] = []
        while frame is not None:
            code = frame.f_code
            frames.append(f"{code.co_filename}:{code.co_qualname}")
            frame = frame.f_back
        self.seconds[tuple(reversed(frames))] += now - self._last
        self._last = now


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(path: Path) -> None:
    """Run one worker until it is told to stop, then write what was seen."""
    sampler = Sampler()
    sampler.start()
    status = run(path)
    sampler.stop()
    lines = [f"{seconds * 1e6:.0f}\t" + "\t".join(stack) for stack, seconds in sampler.seconds.items()]
    Path(os.environ[PROFILE_TO]).write_text("\n".join(lines), encoding="utf-8")
    sys.exit(status)


if __name__ == "__main__":
    main()
