"""Where the microseconds of the worker's main thread go, for each execution (or each job that is loaded)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from bench.bulk import load_many, sparse
from bench.cluster import Cluster, cluster
from bench.machine import REPOSITORY
from bench.scenario import Setup
from bench.scenarios.throughput import saturate

_STEP: Final = "chronos_worker/node.py:Node.step"
_URL: Final = "http://127.0.0.1:9/"
_OTHER: Final = "outside Node.step"

Shares = dict[str, float]


class Sample(NamedTuple):
    """A stack, outermost frame first, and the microseconds it accounts for."""

    us: float
    frames: tuple[str, ...]


def read(file: Path) -> list[Sample]:
    """The samples of one worker, paths made relative to the repository."""
    samples = []
    for line in file.read_text(encoding="utf-8").splitlines():
        us, *frames = line.split("\t")
        samples.append(Sample(float(us), tuple(map(_short, frames))))
    return samples


def _short(frame: str) -> str:
    path, _, name = frame.rpartition(":")
    for root in (f"{REPOSITORY}/", "site-packages/", "lib/python3.11/"):
        path = path.rpartition(root)[2]
    return f"{path}:{name}"


def by_stage(samples: Iterable[Sample]) -> Shares:
    """Microseconds by what `Node.step` called, and by what that called in turn."""
    found: Shares = defaultdict(float)
    for us, frames in samples:
        if _STEP not in frames:
            found[_OTHER] += us
            continue
        below = frames[frames.index(_STEP) + 1 :][:2]
        found[" > ".join(frame.rpartition(":")[2] for frame in below) or "Node.step itself"] += us
    return found


def by_function(samples: Iterable[Sample], *, inclusive: bool) -> Shares:
    """Microseconds by function: its own (innermost frame), or with all it calls (each function once a stack)."""
    found: Shares = defaultdict(float)
    for us, frames in samples:
        for frame in set(frames) if inclusive else frames[-1:]:
            found[frame] += us
    return found


def render(samples: list[Sample], count: int, thing: str, most: int = 25) -> str:
    """Three tables for a terminal."""
    total = sum(sample.us for sample in samples)
    lines = [f"\n{total / count:.1f} µs of the worker's main thread for each of {count:,} {thing}s"]
    ours = by_function(samples, inclusive=True)
    inclusive = {name: us for name, us in ours.items() if name.startswith(("chronos_", "sqlalchemy"))}
    for title, found in (
        ("by stage of Node.step", by_stage(samples)),
        ("by function, with what it calls", inclusive),
        ("by function, itself and what it calls in C", by_function(samples, inclusive=False)),
    ):
        lines.append(f"\n{title:70} µs/{thing:10}  share")
        for name, us in sorted(found.items(), key=lambda item: -item[1])[:most]:
            lines.append(f"  {name:70} {us / count:8.2f}     {us / total * 100:5.1f} %")
    return "\n".join(lines)


def executions(directory: Path, setup: Setup) -> str:
    """Profile the throughput scenario's load."""
    with cluster(directory / "cluster", setup.nodes, profiled=True) as running:
        run = saturate(running, directory, setup, "profile-")
        samples = _samples(running)
    return render(samples, run.totals.recorded, "execution")


def loading(directory: Path, setup: Setup) -> str:
    """Profile the load scenario."""
    assert setup.size is not None
    with cluster(directory / "cluster", setup.nodes, profiled=True) as running:
        load_many(running, sparse("profile-", setup.size, _URL))
        samples = _samples(running)
    return render(samples, setup.size, "job")


def _samples(running: Cluster) -> list[Sample]:
    """What the leader's main thread did; ends the workers."""
    leader = running.leader().node_id
    running.stop()
    return read(running.profile(leader))
