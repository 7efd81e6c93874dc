"""A program to supervise: notes its start and end in a journal, is ready at once, and ends as it is told to.

Arguments: directory, name, how: serve | stubborn | exit=N | orphaning.
"""

import os
import signal
import sys
from pathlib import Path

directory, name, how = Path(sys.argv[1]), *sys.argv[2:]


def note(text):
    with (directory / "journal").open("a") as journal:
        journal.write(f"{name} {text}\n")


if how.startswith("exit="):
    note("started")
    sys.stderr.write(f"{name} says why\n")
    sys.exit(int(how.removeprefix("exit=")))
if how == "orphaning":
    if os.fork() == 0:
        if os.fork() == 0:
            (directory / "orphan").write_text(str(os.getpid()))
        os._exit(0)
    os.wait()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
note("started")
(directory / f"{name}.pid").write_text(str(os.getpid()))
(directory / f"{name}.pid").rename(directory / f"{name}.ready")
while True:
    signal.sigwait({signal.SIGTERM})
    note("told to end")
    if how != "stubborn":
        sys.exit(0)
