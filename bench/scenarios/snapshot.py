"""A node that lost its disk gets a large snapshot while the others work, and either side is killed in the middle.

The database comes from a backup, through the log, so nothing in it is made up behind the back of the nodes. Each
repetition empties a follower; in turn nobody is killed, the receiver is, or the sender is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.cluster import Cluster, cluster
from bench.large import backup, make_backup, restore
from bench.ledger import Span
from bench.processes import BenchFailed, now_ms, sleep_until, wait_for
from bench.scenario import Place, Run, Scenario, Setup
from bench.scenarios.punctuality import finish
from bench.sink import sink
from bench.steady import Steady
from bench.transfer import PATIENCE_S, Silence, Transfer
from chronos_common.protocol import WorkerStatus

CONCURRENCY = "allow"
KINDS = ("calm", "receiver", "sender")
_PART = 0.3
"""How much has arrived when one side is killed."""
_MEGA = 1_000_000


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """Fill a cluster once; `runs` rounds of all kinds of faults, each with a load of its own."""
    assert setup.size is not None
    directory = place.new()
    file = make_backup(directory, setup.size)
    with cluster(directory / "cluster", setup.nodes) as running:
        restored_s = restore(running, file)
        for number in range(setup.runs):
            run = _round(running, directory, setup, number)
            run.metrics["restore_s"] = restored_s
            yield run


def _round(running: Cluster, directory: Path, setup: Setup, number: int) -> Run:
    assert setup.rate_per_s is not None
    metrics: dict[str, float] = {}
    faults: list[str] = []
    with sink(directory / f"sink-{number}") as target, Silence(running) as silence:
        load = Steady(running, setup.rate_per_s, target.url, f"steady-{number}-", concurrency=CONCURRENCY)
        sleep_until(load.from_ms)
        _until_journals_are_cut(running)
        for kind in KINDS:
            metrics |= {
                f"{kind}_{name}": value for name, value in _repetition(running, silence, kind, faults).items()
            }
        metrics |= _backup(running, silence, directory / f"backup-{number}", faults)
        metrics["silence_max_s"] = silence.longest_s
        silence.watch()
        run = finish(running, load, target, Span(load.from_ms, now_ms()))
    _compare(running)
    whole = Run({**metrics, **run.metrics}, run.verdict)
    if faults:
        raise BenchFailed(f"{'; '.join(faults)}; measured meanwhile: {whole}")
    return whole


def _until_journals_are_cut(running: Cluster) -> None:
    """An empty follower gets a snapshot only once the leader no longer has the first entries."""

    def all_cut() -> bool:
        for name in running.names:
            running.cut_log(name)
        statuses = [running.status(name) for name in running.names]
        return all(status is not None and status.first_index > 2 for status in statuses)

    wait_for(all_cut, "the journals to be cut", PATIENCE_S, every_s=0.5)


def _repetition(running: Cluster, silence: Silence, kind: str, faults: list[str]) -> dict[str, float]:
    leader = running.leader()
    sender = leader.node_id
    receiver, other = (name for name in running.names if name != sender)
    silence.watch(other)
    running.kill(receiver)
    shutil.rmtree(running.directory / receiver)
    running.launch(receiver)
    transfer = Transfer(running, sender, receiver)
    transfer.until_copied()
    resumed_at = 0
    if kind != "calm":
        transfer.until_part(_PART)
    if kind == "receiver":
        resumed_at = _killed_receiver(running, transfer)
    elif kind == "sender":
        silence.watch()
        running.kill(sender)
        running.launch(sender)
        transfer = Transfer(running, _next_leader(running, leader.term), receiver)
    size = transfer.size
    transfer.until_ready()
    silence.watch()
    now = running.leader()
    if kind != "sender":
        _expect_no_change(leader, now, f"a node was filled ({kind})", faults)
    times = transfer.times
    if kind == "calm":
        sent_s = times["sent_s"] - times["copied_s"]
        return {
            "snapshot_mb": size / _MEGA,
            "copy_s": times["copied_s"] - times["copying_s"],
            "send_s": sent_s,
            "send_mb_per_s": size / _MEGA / sent_s,
            "install_s": times["installed_s"] - times["sent_s"],
            "ready_s": times["ready_s"],
        }
    return {"ready_s": times["ready_s"]} | ({"kept_pct": resumed_at * 100 / size} if kind == "receiver" else {})


def _killed_receiver(running: Cluster, transfer: Transfer) -> int:
    """Kill it and start it anew; the bytes with which it goes on.

    Raises:
        BenchFailed: it began again instead.
    """
    running.kill(transfer.receiver)
    had = transfer.arrived
    running.launch(transfer.receiver)
    wait_for(lambda: transfer.arrived > had or transfer.arrived < had, "more of the snapshot", PATIENCE_S)
    if transfer.arrived < had:
        raise BenchFailed(f"{transfer.receiver} had {had} bytes of the snapshot and goes on with {transfer.arrived}")
    return had


def _next_leader(running: Cluster, term: int) -> str:
    """Who leads in a later term."""

    def look() -> str | None:
        for name in running.names:
            status = running.status(name)
            if status is not None and status.role == "leader" and status.has_quorum and status.term > term:
                return name
        return None

    return wait_for(look, "a new leader")


def _expect_no_change(before: WorkerStatus, now: WorkerStatus, while_: str, faults: list[str]) -> None:
    if (now.node_id, now.term) != (before.node_id, before.term):
        faults.append(
            f"the leader changed without a fault while {while_}: from {before.node_id} in term {before.term} "
            f"to {now.node_id} in term {now.term}"
        )


def _backup(running: Cluster, silence: Silence, file: Path, faults: list[str]) -> dict[str, float]:
    """A backup under the same load."""
    leader = running.leader()
    silence.watch(*(name for name in running.names if name != leader.node_id))
    took_s = backup(running, file)
    silence.watch()
    _expect_no_change(leader, running.leader(), "a backup was taken", faults)
    found = {"backup_s": took_s, "backup_mb": file.stat().st_size / _MEGA}
    file.unlink()
    return found


def _compare(running: Cluster) -> None:
    """All replicas hold the same rows.

    Raises:
        BenchFailed: they do not, or one did not say.
    """
    with running.client(timeout_s=PATIENCE_S) as client:
        found = client.want(200, "POST", "/api/v1/cluster/verify", {"wait": "5m"})
    if not found["agrees"] or len(found["digests"]) != len(running.names):
        raise BenchFailed(f"the replicas do not agree: {found}")


SCENARIO = Scenario(
    name="snapshot",
    about="a follower emptied beside --size megabytes and --rate a second; the receiver, then the sender killed",
    full=Setup(nodes=3, runs=1, rate_per_s=500, size=2_000),
    quick=Setup(nodes=3, runs=1, rate_per_s=50, size=30),
    measure=measure,
    notes={"concurrency": CONCURRENCY, "killed_at": f"{_PART:.0%} of the snapshot"},
)
