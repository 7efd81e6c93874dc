"""One sitting: each peer and Chronos at each offered rate, and what arrived at the sink."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

from bench.cluster import cluster
from bench.ledger import Verdict
from bench.machine import REPOSITORY, cpu_s
from bench.processes import BenchFailed, Process, free_port, now_ms, wait_for
from bench.scenario import Place, Run, Setup
from bench.scenarios.throughput import saturate
from bench.sink import sink

ENVIRONMENT: Final = REPOSITORY / "bench" / "peers" / ".venv" / "bin"
_WARM_UP_S: Final = 5
_START_S: Final = 120


class Part(NamedTuple):
    """A process of a peer."""

    argv: list[str]
    variables: dict[str, str]


def apscheduler(url: str, jobs: int, directory: Path) -> list[Part]:
    """One process."""
    return [Part([_python(), "-m", "bench.peers.apscheduler_peer", url, str(jobs), str(directory)], {})]


def loop(url: str, jobs: int, _directory: Path) -> list[Part]:
    """One process."""
    return [Part([_python(), "-m", "bench.peers.loop_peer", url, str(jobs)], {})]


def celery(url: str, jobs: int, directory: Path) -> list[Part]:
    """Redis, the worker with its processes, and beat."""
    port = free_port()
    variables = {"PEER_REDIS": f"redis://127.0.0.1:{port}/0", "PEER_URL": url, "PEER_JOBS": str(jobs)}
    app = [_python(), "-m", "celery", "-A", "bench.peers.celery_peer"]
    return [
        Part(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)], {}),
        Part([*app, "worker", "--loglevel", "WARNING"], variables),
        Part([*app, "beat", "--loglevel", "WARNING", "--schedule", str(directory / "beat")], variables),
    ]


PEERS: Final = {"apscheduler": apscheduler, "celery": celery, "loop": loop}


def missing() -> dict[str, str]:
    """The peers that cannot run here, and what they lack."""
    if not (ENVIRONMENT / "python").exists():
        return dict.fromkeys(PEERS, f"there is no {ENVIRONMENT.relative_to(REPOSITORY)}; see bench/peers/README.md")
    return {} if shutil.which("redis-server") else {"celery": "there is no redis-server"}


def measure(setup: Setup, place: Place, rates: Sequence[int]) -> Iterator[Run]:
    """Everything once a run."""
    assert setup.duration_s is not None
    absent = missing()
    for _ in range(setup.runs):
        metrics: dict[str, float] = {}
        verdict = Verdict()
        for rate in rates:
            directory = place.new()
            with cluster(directory / "cluster", setup.nodes) as running:
                own = saturate(running, directory, Setup(duration_s=setup.duration_s, rate_per_s=rate), "peers-")
            verdict = verdict.joined(own.verdict)
            chronos = own.metrics["executions_per_s"]
            metrics[f"chronos_at_{rate}_per_s"] = chronos
            metrics[f"chronos_at_{rate}_cpu_us"] = own.metrics["worker_cpu_us"] + own.metrics["sender_cpu_us"]
            for name in PEERS.keys() - absent.keys():
                metrics |= _run(name, rate, setup.duration_s, place.new(), chronos)
        yield Run(dict(sorted(metrics.items())), verdict)


def _run(name: str, rate: int, duration_s: int, directory: Path, chronos_per_s: float) -> dict[str, float]:
    """What arrived a second once a peer had warmed up, and processor microseconds of all its processes for each."""
    directory.mkdir(parents=True)
    with ExitStack() as opened:
        target = opened.enter_context(sink(directory / "sink"))
        processes = [
            opened.enter_context(closing(Process(part.argv, directory / f"{number}.log", part.variables)))
            for number, part in enumerate(PEERS[name](target.url, rate, directory))
        ]
        wait_for(lambda: target.has_arrivals, f"the first request of {name}", _START_S, every_s=0.2)
        time.sleep(_WARM_UP_S)
        begun, before = now_ms(), _used_s(processes)
        time.sleep(duration_s)
        ended, used = now_ms(), _used_s(processes) - before
        for process in processes:
            if not process.running:
                raise BenchFailed(f"{name} has ended:\n{process.tail()}")
            process.kill()
        target.stop()
        count = sum(begun <= arrival.at_ms < ended for arrival in target.arrivals())
    arrived_per_s = count / (ended - begun) * 1_000
    found = {
        f"{name}_at_{rate}_per_s": arrived_per_s,
        f"{name}_at_{rate}_to_chronos_pct": arrived_per_s / chronos_per_s * 100,
    }
    return found | ({f"{name}_at_{rate}_cpu_us": used / count * 1e6} if count else {})


def _used_s(processes: Sequence[Process]) -> float:
    return sum(cpu_s(pid) for process in processes for pid in process.family())


def _python() -> str:
    return str(ENVIRONMENT / "python")
