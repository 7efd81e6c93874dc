"""Random schedules of delays, cuts, crashes and pauses: a safety phase, then healing and liveness.

`RAFT_FUZZ_SEEDS` sets how many seeds run, `RAFT_FUZZ_FROM` the first.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from chronos_worker.raft import ChangePending, ChangeRefused, Limits, NoLeader
from tests.sim.cluster import SimCluster
from tests.sim.plots import PLOTS_OF_THE_LOG, Plotting

SEEDS = int(os.environ.get("RAFT_FUZZ_SEEDS", "30"))
FIRST = int(os.environ.get("RAFT_FUZZ_FROM", "0"))
STEPS = 1500


class Schedule:
    """One seed: a cluster, a swarm of faults, and a client that counts."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random = Random(f"schedule {seed}")
        self.cluster = SimCluster(
            directory,
            size=random.choice([3, 3, 5]),
            seed=seed,
            haunting=random.choice([0.0, 0.3]),
            delay_s=random.choice([(0.0005, 0.01), (0.001, 0.08), (0.0, 0.3)]),
            limits=Limits(
                batch_bytes=random.choice([60, 1000, 1 << 20]),
                window_bytes=random.choice([200, 4 << 20]),
                frame_bytes=8 << 20,
                trailing_entries=random.choice([2, 50]),
                trailing_bytes=random.choice([300, 100_000]),
                journal_piece_bytes=60,
                snapshot_chunk_bytes=100,
                snapshot_window_bytes=random.choice([100, 1000]),
            ),
        )
        swarm = {
            "cut": 0.004, "one_way": 0.004, "heal": 0.008, "crash": 0.006, "start": 0.02, "pause": 0.006,
            "compact": 0.01, "hand_over": 0.003, "lose_disk": 0.003, "plot": 0.006, "break_off": 0.005,
            "change_members": 0.01,
        }  # fmt: skip
        self.rates = {kind: rate for kind, rate in swarm.items() if random.random() < 0.7 or kind == "start"}
        self.counter = 0
        self.crashes = self.refused = 0
        self.forgetful: set[str] = set()
        self.names = self.cluster.names
        self.network = self.cluster.network
        self.plotting = Plotting(self, PLOTS_OF_THE_LOG)

    def run(self) -> None:
        for _ in range(STEPS):
            self.fault()
            self.plotting.go_on(self.cluster.clock.now)
            if self.random.random() < 0.3:
                self.propose()
            some = [name for name in self.cluster.names if self.random.random() < 0.7]
            self.cluster.step(some or None, dt=self.random.choice([0.001, 0.005, 0.02, 0.05]))
        for node in self.cluster.nodes.values():
            node.disk.crash_at = None
        self.heal()
        self.start()
        self.cluster.until(self.members_are_settled, 60.0, dt=0.05)
        for name in set(self.cluster.names) - self.members():
            self.cluster.leave(name)
        self.cluster.commit(b"the end", 60.0)
        self.cluster.until(lambda: len(self.cluster.states()) == 1, 60.0, dt=0.05)

    def propose(self) -> None:
        alive = self.cluster.alive()
        if alive:
            self.counter += 1
            self.cluster.propose(self.random.choice(alive).node_id, f"entry {self.counter}".encode())

    def fault(self) -> None:
        for kind, rate in self.rates.items():
            if self.random.random() < rate:
                getattr(self, kind)()

    def cut(self) -> None:
        self.cluster.network.cut_both(*self.random.sample(self.cluster.names, 2))

    def one_way(self) -> None:
        self.cluster.network.cut(*self.random.sample(self.cluster.names, 2))

    def heal(self) -> None:
        self.cluster.network.heal()
        if self.counter and self.cluster.alive() != list(self.cluster.nodes.values()):
            self.start()

    def crash(self) -> None:
        alive = self.cluster.alive()
        if not alive:
            return
        # Mostly one, sometimes everybody at once.
        victims = alive if self.random.random() < 0.1 else [self.random.choice(alive)]
        for node in victims:
            self.crashes += 1
            self.cluster.crash(node.node_id, power_cut=self.random.random() < 0.7)

    def break_off(self) -> None:
        self.stop_in_the_middle(self.random.choice(self.cluster.names))

    def plot(self) -> None:
        self.plotting.begin()

    def lose_disk(self) -> None:
        self.forget(self.random.choice(self.cluster.names))

    # -- for plots (`Stage`) ------------------------------------------------------------------------------

    def leading(self) -> str | None:
        return self.cluster.leader()

    def stop(self, name: str, *, power_cut: bool) -> None:
        if self.cluster.nodes[name].log is not None:
            self.cluster.crash(name, power_cut=power_cut)

    def stop_in_the_middle(self, name: str) -> None:
        disk = self.cluster.nodes[name].disk
        disk.crash_at = disk.operations + self.random.randint(1, 6)

    def begin(self, name: str) -> None:
        if self.cluster.nodes[name].log is None:
            self.cluster.start(name)

    def put_to_sleep(self, name: str, for_s: float) -> None:
        self.cluster.nodes[name].paused_until = self.cluster.clock.now + for_s

    def cut_logs(self) -> None:
        for node in self.cluster.alive():
            self.cluster.compact(node.node_id)

    def forget(self, name: str) -> None:
        """A minority at most is without memory at a time: more would be more than Raft can bear."""
        for node in self.cluster.alive():
            if node.log is not None and node.log.status().is_caught_up:
                self.forgetful.discard(node.node_id)
        leader = self.cluster.leader()
        voters = set() if leader is None else self.cluster.status(leader).voters
        if "change_members" in self.rates:  # the list that counts is the one that may be in force
            self.forgetful &= set(self.cluster.names)
            able = name in voters and len(voters) == len(self.cluster.names)
        else:
            able = True
        if able and len(self.forgetful) < (len(self.cluster.names) - 1) // 2:
            self.forgetful.add(name)
            self.cluster.lose_disk(name)

    def change_members(self) -> None:
        """Add somebody, or remove somebody, in whatever state the cluster is."""
        leader, strangers = self.cluster.leader(), sorted(set(self.cluster.names) - self.members())
        if leader is None or self.cluster.status(leader).commit_index < 2:
            return  # a cluster begins only where every configuration file names the same members
        log = self.cluster.log(leader)
        try:
            if self.random.random() < 0.5:
                if len(strangers) < 2:
                    self.cluster.join(f"n{len(self.cluster.nodes) + 1}")
                name = self.random.choice(strangers or self.cluster.names[-1:])
                log.add_member(name, f"{name}:7000")
            elif not self.forgetful:  # with two left of which one has no memory, nobody could be elected
                log.remove_member(self.random.choice(sorted(log.status().members)))
        except (ChangePending, ChangeRefused, NoLeader):
            self.refused += 1

    def members(self) -> set[str]:
        """Whom the leader takes for members; without one nobody is a stranger."""
        leader = self.cluster.leader()
        return set(self.cluster.names if leader is None else self.cluster.status(leader).members)

    def members_are_settled(self) -> bool:
        """Whether a leader has everything committed, and every member votes."""
        leader = self.cluster.leader()
        if leader is None:
            return False
        status = self.cluster.status(leader)
        return status.commit_index == status.last_index and status.voters == set(status.members)

    def start(self) -> None:
        for node in self.cluster.nodes.values():
            if node.log is None:
                self.cluster.start(node.node_id)

    def pause(self) -> None:
        node = self.random.choice(list(self.cluster.nodes.values()))
        node.paused_until = self.cluster.clock.now + self.random.choice([0.2, 1.0, 3.0])

    def compact(self) -> None:
        for node in self.cluster.alive():
            if self.random.random() < 0.5:
                self.cluster.compact(node.node_id)

    def hand_over(self) -> None:
        leader = self.cluster.leader()
        if leader is not None:
            self.cluster.log(leader).transfer_leadership(None)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_random_schedules_keep_the_laws_and_settle(tmp_path, seed):
    check_schedule(tmp_path, seed)


def check_schedule(directory: Path, seed: int) -> None:
    """Run one seed, and see that everybody alive holds all that was committed."""
    schedule = Schedule(directory, seed)
    try:
        schedule.run()
    finally:
        schedule.cluster.close()
    committed = schedule.cluster.laws.committed
    for node in schedule.cluster.alive():
        held = dict(node.machine.entries)
        lost = [index for index, (_, data) in committed.items() if data and held.get(index) != data]
        assert not lost, f"{node.node_id} lacks committed entries {lost}"


def test_the_same_seed_gives_the_same_trace(tmp_path):
    digests = set()
    for run in ("first", "second"):
        schedule = Schedule(tmp_path / run, 7)
        schedule.run()
        digests.add(schedule.cluster.digest.hexdigest())
    assert len(digests) == 1
