"""One seed: a world, a swarm of faults, then healing, and the checkers.

Faults are drawn per seed as a mix (swarm testing): a seed without cuts reaches states that a seed with every
fault at once never does.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from chronos_worker.raft.interface import ReplicatedLog
from tests.sim.checkers import check_everything
from tests.sim.client import Client
from tests.sim.cluster import LawBroken
from tests.sim.plots import PLOTS, Plot, Plotting
from tests.sim.world import World

SAFETY_S = 25.0
CALM_S = 90.0
_STEPS_S = (0.002, 0.01, 0.03, 0.05)
_RATES = {
    "kill": 0.05,
    "cut_power": 0.05,
    "cut_power_in_the_middle": 0.05,
    "pause": 0.06,
    "cut": 0.05,
    "cut_one_way": 0.05,
    "heal": 0.15,
    "step_clock": 0.04,
    "fill_disk": 0.03,
    "fail_disk": 0.02,
    "lose_disk": 0.015,
    "compact": 0.1,
    "hand_over": 0.03,
    "take_out": 0.03,
    "let_in": 0.1,
    "plot": 0.2,
    "restart": 0.3,
}
"""How often a second, for those in the mix."""
_ALWAYS = ("heal", "restart")


def _add(name: str, log: ReplicatedLog) -> None:
    log.add_member(name, f"{name}:7600")


class Campaign:
    """Runs one seed in an empty directory. With a `plot` that is played again and again, and nothing else happens."""

    def __init__(self, directory: Path, seed: int, plot: Plot | None = None) -> None:
        self.random = Random(f"campaign {seed}")
        draw = self.random
        self.world = World(
            directory,
            seed,
            draw.choice([1, 3, 3, 3, 5] if plot is None else [3, 5]),
            haunting=draw.choice([0.0, 0.2]),
            delay_s=draw.choice([(0.0005, 0.005), (0.001, 0.04), (0.0, 0.15)]),
        )
        self.client = Client(self.world, Random(f"client {seed}"))
        intensity = draw.choice([1, 1, 3])
        self.rates = {
            kind: rate if kind in _ALWAYS else rate * intensity
            for kind, rate in _RATES.items()
            if kind in _ALWAYS or draw.random() < 0.5
        }
        if plot is not None:
            self.rates = {"plot": 2.0, **{kind: _RATES[kind] for kind in _ALWAYS}}
        self.names = self.world.names
        self.network = self.world.network
        self.plotting = Plotting(self, PLOTS if plot is None else [plot])
        self.forgetful: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.buried = ""
        self.fewest_active = sys.maxsize
        self.moved_at = 0.0
        """When the work that is left last became less: few seats and slow targets take their time."""
        for machine in self.world.nodes.values():
            machine.clock.offset_ms = draw.choice([0, 0, draw.randint(-2_000, 2_000)])

    def run(self) -> None:
        """Faults first, calm after that, and the books at the end.

        Raises:
            LawBroken: the cluster did what it must never do, or did not come to rest.
        """
        try:
            self._disturb()
            self._calm()
            check_everything(self.world, self.client)
        finally:
            self.world.close()

    def _disturb(self) -> None:
        world, draw = self.world, self.random
        until = world.clock.now + SAFETY_S
        while world.clock.now < until:
            dt = draw.choice(_STEPS_S)
            self._fault(dt)
            self.plotting.go_on(world.clock.now)
            if draw.random() < dt * 1.2:
                self.client.create()
            if draw.random() < dt * 1.5:
                self.client.disturb()
            self.client.step()
            world.step(dt)
            if draw.random() < dt:
                for machine in world.running():
                    world.digest(machine)

    # -- the calm after it --------------------------------------------------------------------------------

    def _calm(self) -> None:
        self.heal()
        self.restart()
        for machine in self.world.nodes.values():
            machine.clock.offset_ms = 0
            machine.paused_until = 0.0
            machine.disk.room, machine.disk.sync_fails, machine.disk.crash_at = None, False, None
        self._until("every errand is answered", lambda: not self.client.open_errands())
        self._until("everybody is a member again", self._everybody_votes)
        if len(self.names) > 1 and self.random.random() < 0.5:
            self._go_on_without_one()
        self.client.stop_everything()
        self._until("every errand is answered", lambda: not self.client.open_errands())
        self._until("everything ended and everybody knows", self._is_at_rest)

    def _go_on_without_one(self) -> None:
        """One node stays dead, and what it ran is run by the others."""
        self._until("everybody works", self._everybody_works)
        self.buried = self._some()
        self.world.crash(self.buried, power_cut=False)
        died_at = self.world.clock.now
        self._until("the dead node is declared lost", lambda: self._nothing_runs_since(died_at))
        self.buried = ""

    def _everybody_works(self) -> bool:
        views = [machine.process.node.view for machine in self.world.running() if machine.process is not None]
        return len(views) == len(self.names) and all(view.ready for view in views)

    def _everybody_votes(self) -> bool:
        leader = self.world.leader()
        if leader is None or leader.process is None:
            return False
        self.let_in()
        status = leader.process.log.status()
        return status.voters == set(self.names) and status.members_index <= status.commit_index

    def _nothing_runs_since(self, died_at: float) -> bool:
        """Whether no execution is held by the dead node any more, some seconds after its death."""
        leader = self.world.leader()
        if leader is None or leader.process is None or self.world.clock.now < died_at + 1:
            return False
        with leader.process.database.read() as connection:
            held = connection.exec_driver_sql(
                "SELECT count(*) FROM executions WHERE status = 'running' AND node_id = ?", (self.buried,)
            ).scalar_one()
            state = connection.exec_driver_sql(
                "SELECT state FROM nodes WHERE node_id = ?", (self.buried,)
            ).scalar_one_or_none()
        return held == 0 and state != "live"

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        self.moved_at = self.world.clock.now
        while not condition():
            if self.world.clock.now > self.moved_at + CALM_S:
                raise LawBroken(f"not within {CALM_S} s of calm: {what}")
            if not self.buried:
                self.restart()  # a torn file may still end a process at its first step
            self.client.step()
            self.world.step(0.05)

    def _is_at_rest(self) -> bool:
        if len(self.world.running()) < len(self.world.names):
            return False
        positions = set()
        for machine in self.world.running():
            assert machine.process is not None
            view = machine.process.node.view
            if view.unreported or not view.ready:
                return False
            positions.add(machine.process.machine.applied_index)
            with machine.process.database.read() as connection:
                active = connection.exec_driver_sql(
                    "SELECT count(*) FROM executions WHERE status IN ('pending', 'running')"
                ).scalar_one()
            if active < self.fewest_active:
                self.fewest_active, self.moved_at = active, self.world.clock.now
            if active:
                return False
        return len(positions) == 1

    # -- faults -------------------------------------------------------------------------------------------

    def _fault(self, dt: float) -> None:
        for kind, rate in self.rates.items():
            if self.random.random() < rate * dt:
                self.faults[kind] += 1
                getattr(self, kind)()

    def _some(self) -> str:
        return self.random.choice(self.world.names)

    def kill(self) -> None:
        """SIGKILL: what was written stays."""
        self.world.crash(self._some(), power_cut=False)

    def cut_power(self) -> None:
        """One machine, or all of them at once."""
        names = self.world.names if self.random.random() < 0.2 else [self._some()]
        for name in names:
            self.world.crash(name, power_cut=True)

    def cut_power_in_the_middle(self) -> None:
        """In the middle of one of the next file operations."""
        disk = self.world.nodes[self._some()].disk
        disk.crash_at = disk.operations + self.random.randint(1, 30)

    def restart(self) -> None:
        """Start what is down."""
        for machine in self.world.nodes.values():
            if machine.process is None:
                machine.disk.room, machine.disk.sync_fails = None, False
                self.world.start(machine.name)

    def pause(self) -> None:
        """SIGSTOP for a while, sometimes longer than the grace of a node."""
        machine = self.world.nodes[self._some()]
        machine.paused_until = self.world.clock.now + self.random.choice([0.3, 1.0, 6.0])
        self.world.note(f"{machine.name} pauses")

    def cut(self) -> None:
        """Separate one node from all others, or two from one another."""
        one = self._some()
        others = [name for name in self.world.names if name != one]
        for other in others if self.random.random() < 0.5 else others[:1]:
            self.world.network.cut_both(one, other)
        self.world.note(f"{one} is cut off")

    def cut_one_way(self) -> None:
        """One direction only."""
        if len(self.world.names) > 1:
            one, other = self.random.sample(self.world.names, 2)
            self.world.network.cut(one, other)
            self.world.note(f"{one} is not heard by {other}")

    def heal(self) -> None:
        """Mend the network."""
        self.world.network.heal()

    def step_clock(self) -> None:
        """An operator, or a wrong time server, moves a wall clock."""
        machine = self.world.nodes[self._some()]
        machine.clock.offset_ms = self.random.choice([0, self.random.randint(-20_000, 20_000)])
        self.world.note(f"{machine.name} has its clock off by {machine.clock.offset_ms} ms")

    def fill_disk(self) -> None:
        """No room but for a few more bytes."""
        self.world.nodes[self._some()].disk.room = self.random.randint(0, 2_000)

    def fail_disk(self) -> None:
        """Every sync fails from now on."""
        self.world.nodes[self._some()].disk.sync_fails = True

    def lose_disk(self) -> None:
        """A machine is replaced by an empty one."""
        self.forget(self._some())

    def plot(self) -> None:
        """Something that needs several steps."""
        self.plotting.begin()

    # -- for plots (`Stage`) ------------------------------------------------------------------------------

    def leading(self) -> str | None:
        """See `Stage`."""
        leader = self.world.leader()
        return None if leader is None else leader.name

    def stop(self, name: str, *, power_cut: bool) -> None:
        """See `Stage`."""
        self.world.crash(name, power_cut=power_cut)

    def stop_in_the_middle(self, name: str) -> None:
        """See `Stage`."""
        disk = self.world.nodes[name].disk
        disk.crash_at = disk.operations + self.random.randint(1, 12)

    def begin(self, name: str) -> None:
        """See `Stage`."""
        if self.world.nodes[name].process is None:
            self.world.start(name)

    def put_to_sleep(self, name: str, for_s: float) -> None:
        """See `Stage`."""
        self.world.nodes[name].paused_until = self.world.clock.now + for_s

    def cut_logs(self) -> None:
        """See `Stage`."""
        for machine in self.world.running():
            if machine.process is not None:
                machine.process.node.take_snapshot()

    def forget(self, name: str) -> None:
        """See `Stage`. At most a minority is without memory at a time: more is more than Raft can bear."""
        for machine in self.world.running():
            if machine.process is not None and machine.process.log.status().is_caught_up:
                self.forgetful.discard(machine.name)
        if self._bears_a_loss() and len(self.forgetful) < (len(self.world.names) - 1) // 2:
            self.forgetful.add(name)
            self.world.lose_disk(name)

    def _bears_a_loss(self) -> bool:
        """Whether everybody is known to vote: of two voters none may lose its memory."""
        if "take_out" not in self.rates:
            return True
        leader = self.world.leader()
        if leader is None or leader.process is None:
            return False
        return leader.process.log.status().voters == set(self.names)

    def take_out(self) -> None:
        """As an operator's `cluster remove`, while nobody is without memory."""
        leader = self.world.leader()
        if leader is not None and leader.process is not None and not self.forgetful:
            name = self._some()
            self.world.note(f"{name} is to go")
            leader.process.node.change_members(lambda log: log.remove_member(name))

    def let_in(self) -> None:
        """As an operator's `cluster add`, for who is no member."""
        leader = self.world.leader()
        if leader is None or leader.process is None:
            return
        for name in sorted(set(self.names) - set(leader.process.log.status().members)):
            self.world.note(f"{name} may come back")
            leader.process.node.change_members(partial(_add, name))
            return

    def compact(self) -> None:
        """Make the state durable and cut the log behind it, as a full journal would."""
        for machine in self.world.running():
            if machine.process is not None and self.random.random() < 0.5:
                machine.process.node.take_snapshot()

    def hand_over(self) -> None:
        """As an operator's transfer-leadership."""
        leader = self.world.leader()
        if leader is not None and leader.process is not None:
            leader.process.node.transfer_leadership(None)
