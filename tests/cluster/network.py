"""A host for each worker: network namespaces on one bridge, and the ways in which packets fail to get through.

Only iproute2 is used. What a host sends to another is swallowed by giving it a neighbour's hardware address that
nobody has, which, unlike a rule that rejects, no sender can notice. The campaign itself is one more host on the
bridge; its links to the workers are never cut.
"""

import contextlib
import os
import shutil
import subprocess

_US = 254
_NOBODY = 99


class NotPermitted(Exception):
    """This machine does not let us make network namespaces; the text says what it refused."""


def _run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise NotPermitted(f"{' '.join(arguments)}: {done.stderr.strip()}")


def _free_net():
    """The third number of a network that nobody here uses yet; where to look first depends on the process."""
    taken = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, timeout=10, check=False).stdout
    numbers = ((os.getpid() + offset) % 250 for offset in range(250))
    free = next((number for number in numbers if f" 10.231.{number}." not in taken), None)
    if free is None:
        raise NotPermitted("all 250 networks below 10.231 are in use here")
    return free


class Network:
    """Hosts for workers; `hosts` are their addresses, `prefixes` the commands that run something there."""

    def __init__(self, names):
        if shutil.which("ip") is None:
            raise NotPermitted("there is no `ip` here (Debian: iproute2)")
        self._tag = f"ch{os.getpid()}"
        self._net = _free_net()
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        self.ours = f"10.231.{self._net}.{_US}"
        self.hosts = {name: f"10.231.{self._net}.{number}" for name, number in self._numbers.items()}
        self.prefixes = {name: ("ip", "netns", "exec", self._space(name)) for name in names}
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _space(self, name):
        return f"{self._tag}{name}"

    def _hardware(self, number):
        return f"02:00:00:00:{self._net:02x}:{number:02x}"

    def _build(self):
        switch = self._space("sw")
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "br0", "up")
        _run("ip", "link", "add", self._tag, "type", "veth", "peer", "name", "us", "netns", switch)
        _run("ip", "-n", switch, "link", "set", "us", "master", "br0", "up")
        _run("ip", "addr", "add", f"{self.ours}/24", "dev", self._tag)
        _run("ip", "link", "set", self._tag, "up")
        for name, number in self._numbers.items():
            space = self._space(name)
            _run("ip", "netns", "add", space)
            _run("ip", "-n", space, "link", "set", "lo", "up")
            _run("ip", "link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", name, "netns", switch)
            _run("ip", "-n", switch, "link", "set", name, "master", "br0", "up")
            _run("ip", "-n", space, "addr", "add", f"{self.hosts[name]}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "address", self._hardware(number), "up")
        self.heal()

    def _send(self, sender, receiver, number):
        address = self._hardware(number)
        neighbour = ("replace", self.hosts[receiver], "lladdr", address, "nud", "permanent", "dev", "eth0")
        _run("ip", "-n", self._space(sender), "neigh", *neighbour)

    def cut_one_way(self, sender, receiver):
        """What one sends to the other vanishes."""
        self._send(sender, receiver, _NOBODY)

    def cut(self, one, other):
        """Nothing gets through between two."""
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def join(self, one, other):
        """Both directions are whole again."""
        self._send(one, other, self._numbers[other])
        self._send(other, one, self._numbers[one])

    def delay(self, name, kbit_per_s):
        """All that a host sends queues at such a rate, for up to 400 ms; what would wait longer is lost."""
        shape = ("tbf", "rate", f"{kbit_per_s}kbit", "burst", "4kb", "latency", "400ms")
        _run("tc", "-n", self._space(name), "qdisc", "replace", "dev", "eth0", "root", *shape)

    def undelay(self, name):
        """It sends as fast as it can again."""
        _run("tc", "-n", self._space(name), "qdisc", "del", "dev", "eth0", "root")

    def heal(self):
        """All cuts are gone."""
        for name in self._numbers:
            for other in self._numbers:
                if name < other:
                    self.join(name, other)

    def close(self):
        """Remove everything that was made."""
        for name in ["sw", *self._numbers]:
            with contextlib.suppress(NotPermitted):
                _run("ip", "netns", "del", self._space(name))
        with contextlib.suppress(NotPermitted):
            _run("ip", "link", "del", self._tag)
