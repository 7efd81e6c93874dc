"""What is done to a running cluster. Each begins and heals; `needs_network` ones want hosts of their own."""

import contextlib
import os
import signal
import threading

from tests.cluster.lab import SMALL_DISK
from tests.support.processes import wait_for

_STARTUP_FILES = 4_096


class Nemesis:
    """A fault: `begin` returns whom it strikes, `heal` ends it. `lasts_s`: between how much and how much it lasts."""

    needs_network = False
    lasts_s = (2.0, 8.0)

    def __init__(self, lab, chance):
        self.lab = lab
        self.chance = chance

    def others(self, name):
        """All but one."""
        return [other for other in self.lab.cluster.names if other != name]


class KillLeader(Nemesis):
    """kill -9 to the leader and its senders; another takes over while it starts again, as under a supervisor."""

    lasts_s = (0.0, 0.0)

    def begin(self):
        victim = self.lab.ready()
        self.lab.cluster.kill(victim)
        self.lab.cluster.start(victim)
        return f"{victim}, then {self.lab.replaced()} leads"

    def heal(self):
        """Nothing: it is starting."""


class KillAll(Nemesis):
    """kill -9 to everybody, as when the power fails."""

    lasts_s = (0.0, 3.0)

    def begin(self):
        for name in self.lab.cluster.names:
            self.lab.cluster.kill(name)
        return "n1, n2, n3"

    def heal(self):
        self.lab.cluster.start()


class PauseLeader(Nemesis):
    """SIGSTOP to the leader and its senders, SIGCONT to heal: it wakes up believing that it leads."""

    def begin(self):
        self.victim = self.lab.ready()
        self._signal(signal.SIGSTOP)
        return self.victim

    def heal(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        os.killpg(self.lab.cluster.processes[self.victim].popen.pid, number)


class Nap(Nemesis):
    """SIGSTOP to a follower, not to its senders, until it is declared lost or nearly so; it wakes up to old words."""

    lasts_s = (2.0, 10.0)

    def begin(self):
        victim = self.chance.choice(self.others(self.lab.ready()))
        self._sleeper = self.lab.cluster.processes[victim].popen
        self._sleeper.send_signal(signal.SIGSTOP)
        return victim

    def heal(self):
        self._sleeper.send_signal(signal.SIGCONT)


class RollingRestart(Nemesis):
    """One after another is drained by SIGTERM and started again."""

    lasts_s = (0.0, 0.0)

    def begin(self):
        for name in self.lab.cluster.names:
            self.lab.ready()
            self.lab.restart(name)
        return "n1, n2, n3"

    def heal(self):
        """Nothing: all are back."""


class FullDisk(Nemesis):
    """A worker's disk is full; it has to stop by itself, and is started when there is room again."""

    lasts_s = (0.0, 2.0)

    def begin(self):
        if self.lab.disk is None:
            self.lab.cluster.kill(SMALL_DISK)
            self.lab.cluster.start(SMALL_DISK, largest_file=_STARTUP_FILES)
        else:
            self._ballast = self.lab.disk / "ballast"
            with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * 65_536)
        process = self.lab.cluster.processes[SMALL_DISK]
        wait_for(lambda: process.popen.poll() is not None, "the worker with the full disk to stop", timeout_s=60)
        return f"{SMALL_DISK}, ended with status {process.popen.returncode}"

    def heal(self):
        if self.lab.disk is not None:
            self._ballast.unlink()
        self.lab.cluster.processes.pop(SMALL_DISK).close()
        self.lab.cluster.start(SMALL_DISK)


class Cut(Nemesis):
    """The leader is cut off from both others; clients still reach it."""

    needs_network = True

    def begin(self):
        victim = self.lab.ready()
        for other in self.others(victim):
            self.lab.network.cut(victim, other)
        return victim

    def heal(self):
        self.lab.network.heal()


class CutOneWay(Nemesis):
    """The leader is heard and hears nothing, or hears and is not heard."""

    needs_network = True

    def begin(self):
        victim = self.lab.ready()
        deaf = self.chance.random() < 0.5
        for other in self.others(victim):
            self.lab.network.cut_one_way(*((other, victim) if deaf else (victim, other)))
        return f"{victim} {'hears nothing' if deaf else 'is not heard'}"

    def heal(self):
        self.lab.network.heal()


class Loss(Nemesis):
    """The leader's links lose what is sent in a tenth of a second out of each third of one."""

    needs_network = True

    def begin(self):
        victim = self.lab.ready()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._flap, args=(victim,))
        self._thread.start()
        return victim

    def _flap(self, victim):
        while not self._over.is_set():
            for other in self.others(victim):
                self.lab.network.cut(victim, other)
            self._over.wait(0.1)
            for other in self.others(victim):
                self.lab.network.join(victim, other)
            self._over.wait(0.23)

    def heal(self):
        self._over.set()
        self._thread.join()
        self.lab.network.heal()


class Delay(Nemesis):
    """What the leader sends queues behind a slow line."""

    needs_network = True

    def begin(self):
        self.victim = self.lab.ready()
        self.lab.network.delay(self.victim, 256)
        return self.victim

    def heal(self):
        self.lab.network.undelay(self.victim)


NEMESES = {
    "kill": KillLeader,
    "kill-all": KillAll,
    "pause": PauseLeader,
    "nap": Nap,
    "rolling": RollingRestart,
    "disk": FullDisk,
    "cut": Cut,
    "cut-one-way": CutOneWay,
    "loss": Loss,
    "delay": Delay,
}
"""By the name that FAULTS takes."""
