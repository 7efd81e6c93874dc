"""The form of a transcript, after etcd's `testdata`: directives, `----`, what happened, an empty line.

# Whatever stands behind a hash is for the reader.
nodes 3
elect n1
----
n1 leads in term 1, log 2..2, committed 1: -
"""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.stage import Stage

MARK = "----"
HERE = Path(__file__).parent


def scenarios() -> list[str]:
    """The names of all transcripts."""
    return sorted(path.stem for path in HERE.glob("*.txt"))


def written(name: str) -> str:
    """A transcript as it stands in its file."""
    return (HERE / f"{name}.txt").read_text(encoding="utf-8")


def played(name: str, directory: Path) -> str:
    """The transcript as it would be written today."""
    stage = Stage(directory)
    try:
        return "\n\n".join(_scene(block, stage) for block in written(name).strip().split("\n\n")) + "\n"
    finally:
        stage.close()


def _scene(block: str, stage: Stage) -> str:
    lines = block.splitlines()
    asked = lines[: lines.index(MARK)] if MARK in lines else lines
    happened = [said for line in asked if line and not line.startswith("#") for said in stage.play(line)]
    if all(line.startswith("#") for line in asked):
        return "\n".join(asked)
    return "\n".join([*asked, MARK, *happened])
