"""Real logs over real sockets on loopback, in one thread, on a clock that passes only when told to."""

from __future__ import annotations

import hashlib
import selectors
import socket
import struct
from pathlib import Path
from random import Random

from chronos_worker.raft import ClusterSecret, Limits, LogConfig, Timing, open_log
from tests.raft.machine import Machine
from tests.sim.cluster import InlineExecutor
from tests.sim.network import VirtualClock
from tests.support.processes import free_port

SECRET = ClusterSecret(b"what all these members know")
TIMING = Timing(heartbeat_s=0.1, quorum_loss_s=0.4, election_min_s=0.5, election_max_s=1.0)
LIMITS = Limits(pending_connections=8)
_TURNS = 5_000
_LOOK_S = 0.001
"""Longest real wait of one node in one turn: what was sent has to get through the kernel."""


class Loopback:
    """Members n1, n2 ..., each with files, a state machine and a port."""

    def __init__(self, directory: Path, size: int = 3) -> None:
        self.directory = directory
        self.clock = VirtualClock()
        self.members = {f"n{number}": f"127.0.0.1:{free_port()}" for number in range(1, size + 1)}
        self.logs = {}
        self.machines = {}
        self.taps = []

    def config(self, name, *, members=None, security=SECRET, listen=None, directory=None) -> LogConfig:
        """The configuration of a member; the keywords are its mistakes."""
        members = self.members if members is None else members
        return LogConfig(
            node_id=name,
            data_dir=self.directory / (directory or name),
            listen=listen or members[name],
            peers={other: address for other, address in members.items() if other != name},
            security=security,
            timing=TIMING,
            limits=LIMITS,
        )

    def start(self, *configs: LogConfig, as_name=None) -> None:
        """Open these, or every member as it should be."""
        for config in configs or [self.config(name) for name in self.members]:
            name = as_name or config.node_id
            self.machines.setdefault(name, Machine())
            self.logs[name] = open_log(
                config,
                self.machines[name],
                clock=self.clock,
                random=Random(f"{self.directory} {name}"),
                background=InlineExecutor(),
            )

    def stop(self, name) -> None:
        """End one in good order."""
        self.machines[name].make_durable()
        self.logs.pop(name).close()

    def tap(self, name) -> Tap:
        """A second address of a member, at which all that passes is kept and may be changed."""
        self.taps.append(Tap(self.members[name]))
        return self.taps[-1]

    def turn(self, dt: float = 0.01, look_s: float = _LOOK_S) -> None:
        """Let every node take what came, waiting at most `look_s` real seconds, and `dt` of its own time pass."""
        self.clock.now += dt
        for tap in self.taps:
            tap.pump()
        for name, log in self.logs.items():
            self.machines[name].apply(log.poll(look_s))

    def until(self, condition, what: str):
        """The first true value of `condition`."""
        for _ in range(_TURNS):
            if value := condition():
                return value
            self.turn()
        views = "\n".join(str(log.status()) for log in self.logs.values())
        raise AssertionError(f"not in {_TURNS} turns: {what}\n{views}")

    def status(self, name):
        """How a node sees the cluster."""
        return self.logs[name].status()

    def refused(self, name, reason) -> int:
        """How often a node has refused for this reason."""
        return self.status(name).rejected.get(reason, 0)

    def told(self, name, sentence) -> bool:
        """Whether a node's status says this."""
        return any(sentence in problem for problem in self.status(name).problems.values())

    def elect(self) -> str:
        """The leader, once every node knows it."""

        def look():
            leaders = {log.status().leader_id for log in self.logs.values()}
            return len(leaders) == 1 and None not in leaders and leaders.pop()

        return self.until(look, "a leader whom all know")

    def commit(self, data: bytes) -> None:
        """Have an entry, and wait until everybody applied it."""
        self.logs[self.elect()].propose(data)
        self.until(
            lambda: all(any(found == data for _, found in self.machines[name].entries) for name in self.logs),
            f"{data!r} everywhere",
        )

    def footprint(self, name) -> tuple:
        """All that must not change: what it says, what it applied, and every byte on its disk."""
        status, machine = self.status(name), self.machines[name]
        files = sorted(path for path in (self.directory / name).iterdir() if path.name != "lock")
        return (
            status.role,
            status.leader_id,
            status.term,
            status.commit_index,
            status.last_index,
            status.members,
            status.voters,
            hashlib.sha256(repr(machine.entries).encode()).hexdigest(),
            [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files],
        )

    def close(self) -> None:
        """End everything."""
        for log in self.logs.values():
            log.close()
        for tap in self.taps:
            tap.close()


class Passage:
    """One connection through a tap: the bytes either side sent so far."""

    def __init__(self, caller: socket.socket, listener: socket.socket) -> None:
        self.sockets = (caller, listener)
        self.to_listener = bytearray()
        self.to_caller = bytearray()
        self.ended = False

    def end(self) -> None:
        """Break it."""
        self.ended = True
        for side in self.sockets:
            side.close()


class Tap:
    """A man in the middle.

    `alter` gets each piece on its way to the listener and returns what goes there, or None to break the connection.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passages: list[Passage] = []
        self.alter = lambda _passage, data: data

    def pump(self) -> None:
        """Carry over what came."""
        for key, _ in self._selector.select(0.0):
            if key.fileobj is self._listener:
                self._accept()
            elif not key.data[0].ended:
                self._carry(*key.data)

    def _accept(self) -> None:
        caller, _ = self._listener.accept()
        passage = Passage(caller, socket.create_connection(self._target, timeout=5))
        self.passages.append(passage)
        for side in (0, 1):
            passage.sockets[side].setblocking(False)
            self._selector.register(passage.sockets[side], selectors.EVENT_READ, (passage, side))

    def _carry(self, passage: Passage, side: int) -> None:
        try:
            data = passage.sockets[side].recv(1 << 20) or None
            if data is not None:
                (passage.to_listener, passage.to_caller)[side].extend(data)
                data = self.alter(passage, data) if side == 0 else data
                passage.sockets[1 - side].sendall(data or b"")
        except OSError:
            data = None
        if data is None:
            for one in passage.sockets:
                self._selector.unregister(one)
            passage.end()

    def close(self) -> None:
        """End it and all that passes."""
        for passage in self.passages:
            passage.end()
        self._listener.close()
        self._selector.close()


class Stranger:
    """Somebody who calls a port and says what he likes."""

    def __init__(self, address: str, data: bytes = b"") -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=5)
        self._socket.settimeout(0)
        self.heard = b""
        self.say(data)

    def say(self, data: bytes) -> None:
        """Send as much as the other side takes."""
        try:
            self._socket.sendall(data)
        except OSError:
            return  # it has hung up on us, which is its right

    def is_cut_off(self) -> bool:
        """Whether the other side has hung up; what it said until then is in `heard`."""
        try:
            while data := self._socket.recv(1 << 16):
                self.heard += data
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def hang_up(self) -> None:
        """Go, in good order."""
        self._socket.close()

    def reset(self) -> None:
        """Go with a bang: no FIN but RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def frames(stream: bytes) -> list[bytes]:
    """A recorded stream, cut into frames with their lengths in front; an unfinished one is left out."""
    found, at = [], 0
    while at + 4 <= len(stream):
        end = at + 4 + int.from_bytes(stream[at : at + 4], "big")
        if end > len(stream):
            break
        found.append(bytes(stream[at:end]))
        at = end
    return found


def records(stream: bytes) -> list[bytes]:
    """The same for TLS records (RFC 8446 §5.1)."""
    found, at = [], 0
    while at + 5 <= len(stream):
        end = at + 5 + int.from_bytes(stream[at + 3 : at + 5], "big")
        if end > len(stream):
            break
        found.append(bytes(stream[at:end]))
        at = end
    return found
