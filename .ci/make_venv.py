"""Make a virtual environment with pip in it: `python3 .ci/make_venv.py DIRECTORY`. Standard library only.

Debian ships Python without `ensurepip`; where it is missing, the machine's own pip installs itself into the
environment. Without either, the sentence says which package to install.
"""

# ruff: noqa: INP001 - a program by itself

from __future__ import annotations

import importlib.util
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)


def main(directory: Path) -> None:
    """Make it, or end with a sentence that says what is missing."""
    if sys.version_info < OLDEST:
        sys.exit(f"make: Chronos needs Python 3.11 or newer, this is {sys.version.split()[0]}; name another: PYTHON=")
    if importlib.util.find_spec("ensurepip"):
        venv.create(directory, with_pip=True, symlinks=True)
    elif importlib.util.find_spec("pip"):
        venv.create(directory, symlinks=True)
        python = str(directory / "bin" / "python")
        subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "pip"], check=True)  # noqa: S603
    else:
        sys.exit("make: this Python has neither ensurepip nor pip; on Debian: apt-get install python3-venv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
