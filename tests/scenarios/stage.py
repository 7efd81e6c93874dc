"""What a transcript plays on: real logs with their files, and a network, a disk and a clock that do as they are told.

Each method of `Stage` is a directive of the same name; its docstring is the manual.
"""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

from chronos_worker.raft import FatalLogError, Limits, NoLeader, QueueFull, messages
from chronos_worker.raft.engine import engage
from tests.sim.cluster import TIMING, SimCluster

_SHOWN = 6
_QUIET_S = 1.0
_LONGEST_S = 30.0
_TICK_S = 0.01
_ELECTION_TURNS = 40
"""Fewer than the shortest election timeout: nobody else's timer runs out meanwhile."""


class Stage:
    """Plays directives, one at a time, and tells what became of the nodes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cluster: SimCluster | None = None
        self._shown: dict[str, str] = {}

    def play(self, line: str) -> list[str]:
        """Do what one line says; return what it says itself, and the nodes that look different after it."""
        directive, *words = line.split()
        said: list[str] = getattr(self, directive)(*words) or []
        return said + ([] if directive == "status" else self._news())

    def close(self) -> None:
        """Give back every file."""
        if self._cluster is not None:
            self._cluster.close()

    # -- directives ---------------------------------------------------------------------------------------

    def nodes(self, count: str) -> None:
        """`nodes 3`: a new cluster, n1 n2 n3, that has not begun."""
        limits = Limits(
            batch_bytes=1,  # every entry travels by itself
            trailing_entries=5,
            trailing_bytes=2_000,
            snapshot_chunk_bytes=200,
            snapshot_window_bytes=200,
        )
        self._cluster = SimCluster(self._directory, int(count), limits=limits, delay_s=(0.001, 0.001))
        self._cluster.network.last_words_arrive = True
        self._news()

    def status(self) -> list[str]:
        """`status`: how every node stands."""
        return [self._view(name) for name in self.cluster.names]

    def elect(self, name: str) -> list[str]:
        """`elect n1`: nobody hears of a leader for an election timeout, and the timer of n1 runs out first."""
        self._turn()  # links that are broken are known to be
        self.cluster.clock.now += TIMING.election_max_s
        engage(self.cluster.clock, Random(0))
        for node in self.cluster.alive():
            node.log._engine.postpone_election(1.0)
        self.cluster.log(name)._engine.hasten_election()
        for _ in range(_ELECTION_TURNS):
            self._turn([name, *(other for other in self.cluster.names if other != name)])
            if self.cluster.leader() == name:
                break
        return [] if self.cluster.leader() == name else [f"{name} is not elected"]

    def transfer(self, name: str) -> None:
        """`transfer n2`: the leader hands over to n2."""
        self.cluster.log(self._leader()).transfer_leadership(name)
        self.run("0.3")

    def remove(self, name: str, member: str) -> None:
        """`remove n1 n3`: the leader n1 takes n3 off the list of members, in force on n1 at once."""
        self.cluster.log(name).remove_member(member)

    def voters(self, name: str) -> list[str]:
        """`voters n1`: who elects and counts, by the list in force on n1."""
        return [f"{name} counts {' '.join(sorted(self.cluster.log(name).status().voters))}"]

    def propose(self, name: str, *entries: str) -> list[str]:
        """`propose n1 x y`: entries, handed to n1; `x*40` is x1 to x40. What becomes of them takes time: `run`."""
        for entry in entries:
            text, _, count = entry.partition("*")
            for data in [f"{text}{number}" for number in range(1, int(count) + 1)] if count else [text]:
                try:
                    self.cluster.log(name).propose(data.encode())
                except (NoLeader, QueueFull) as error:
                    return [f"{name} refuses {data}: {error}"]
        return []

    def cut(self, one: str, other: str) -> None:
        """`cut n1 n2`: nothing passes between them."""
        self.cluster.network.cut_both(one, other)

    def isolate(self, *names: str) -> None:
        """`isolate n1 n2`: nothing passes between these and the others; among themselves they talk."""
        for name in names:
            for other in set(self.cluster.names) - set(names):
                self.cluster.network.cut_both(name, other)

    def mute(self, name: str, *listeners: str) -> None:
        """`mute n1 n2 n3`: what n1 says is not heard by n2 and n3; n1 hears them."""
        for listener in listeners:
            self.cluster.network.cut(name, listener)

    def heal(self) -> None:
        """`heal`: everything passes again."""
        self.cluster.network.heal()

    def lose(self, source: str, target: str, kind: str) -> None:
        """`lose n1 n2 RequestVote`: messages of this kind from n1 do not arrive at n2, until `heal`."""
        self.cluster.network.lost.add((source, target, getattr(messages, kind)))

    def find(self, source: str, target: str, kind: str) -> None:
        """`find n1 n2 RequestVote`: such messages arrive again."""
        self.cluster.network.lost.discard((source, target, getattr(messages, kind)))

    def repeat(self, source: str, target: str, kind: str) -> None:
        """`repeat n2 n1 Appended`: the latest such message arrives again, or after all, if it had been lost."""
        network = self.cluster.network
        network.repeat(source, target, network.latest[source, target, getattr(messages, kind)])
        self._turn()

    def keep(self, source: str, target: str, kind: str) -> None:
        """`keep n2 n1 Appended`: remember the latest such message, for `release`."""
        key = (source, target, getattr(messages, kind))
        self._kept = (source, target, self.cluster.network.latest[key])

    def release(self) -> None:
        """`release`: the message that was kept arrives now."""
        self.cluster.network.repeat(*self._kept)
        self._turn()

    def kill(self, name: str) -> None:
        """`kill n1`: the process ends; what it has written stays."""
        self.cluster.crash(name, power_cut=False)

    def cut_power(self, *names: str) -> None:
        """`cut_power n1`: what was not synced may be lost or torn."""
        for name in names:
            self.cluster.crash(name, power_cut=True)

    def break_off(self, name: str, operations: str) -> None:
        """`break_off n2 3`: n2 loses power in the third file operation from now on."""
        disk = self.cluster.nodes[name].disk
        disk.crash_at = disk.operations + int(operations)

    def pause(self, name: str) -> None:
        """`pause n1`: the process is stopped where it is; what it is sent waits for it."""
        self.cluster.nodes[name].paused_until = math.inf

    def wake(self, name: str) -> None:
        """`wake n1`: it goes on."""
        self.cluster.nodes[name].paused_until = 0.0

    def lose_disk(self, name: str) -> None:
        """`lose_disk n1`: the machine is replaced by an empty one, not started yet."""
        self.cluster.lose_disk(name)

    def start(self, *names: str) -> list[str]:
        """`start n1`: the process begins again, with what is on its disk."""
        said = []
        for name in names:
            try:
                self.cluster.start(name)
            except FatalLogError as error:
                self.cluster.network.remove(name)
                said.append(f"{name} refuses to start: {str(error).replace(str(self._directory), '')}")
        return said

    def tear(self, name: str, count: str) -> None:
        """`tear n1 5`: half a record stands at the end of the journal, 5 bytes of it."""
        with (self._directory / name / "journal").open("ab") as file:
            file.write(b"\x07" * int(count))

    def damage(self, name: str, distance: str) -> None:
        """`damage n1 10`: the byte so far from the journal's end is another one."""
        path = self._directory / name / "journal"
        content = bytearray(path.read_bytes())
        content[-int(distance)] ^= 0xFF
        path.write_bytes(content)

    def compact(self, *names: str) -> None:
        """`compact n1`: its state becomes durable, and its log is cut behind it."""
        for name in names:
            self.cluster.compact(name)

    def run(self, seconds: str) -> None:
        """`run 0.5`: so much time passes."""
        for _ in range(round(float(seconds) / _TICK_S)):
            self._turn()

    def until_receiving(self, name: str, size: str) -> list[str]:
        """`until_receiving n3 200`: until so many bytes of a snapshot have arrived at n3."""
        incoming = self._directory / name / "incoming"
        self.cluster.until(lambda: incoming.exists() and incoming.stat().st_size >= int(size), dt=0.001)
        return [f"{name} has {incoming.stat().st_size} bytes of a snapshot"]

    def stabilize(self) -> None:
        """`stabilize`: until nobody has looked different for a second."""
        seen, since, began = self.status(), self.cluster.clock.now, self.cluster.clock.now
        while self.cluster.clock.now < since + _QUIET_S and self.cluster.clock.now < began + _LONGEST_S:
            self._turn()
            if (now := self.status()) != seen:
                seen, since = now, self.cluster.clock.now

    # -- behind them --------------------------------------------------------------------------------------

    @property
    def cluster(self) -> SimCluster:
        assert self._cluster is not None, "the first directive is `nodes`"
        return self._cluster

    def _turn(self, order: list[str] | None = None) -> None:
        self.cluster.clock.now += _TICK_S
        self.cluster.network.advance()
        for name in order or self.cluster.names:
            self.cluster.poll(name)

    def _leader(self) -> str:
        leader = self.cluster.leader()
        assert leader is not None, "nobody leads"
        return leader

    def _news(self) -> list[str]:
        views = {name: self._view(name) for name in self.cluster.names}
        news = [view for name, view in views.items() if self._shown.get(name) != view]
        self._shown = views
        return news

    def _view(self, name: str) -> str:
        node = self.cluster.nodes[name]
        if node.log is None:
            return f"{name} is down"
        status = node.log.status()
        lead = "leads" if status.role == "leader" else f"follows {status.leader_id or 'nobody'}"
        if status.role == "candidate":
            lead = "stands for election"
        applied = [data.decode() for _, data in node.machine.entries]
        if len(applied) > _SHOWN:
            applied = [*applied[:2], "...", *applied[-2:], f"({len(applied)})"]
        return (
            f"{name} {lead} in term {status.term}, log {status.first_index}..{status.last_index}, "
            f"committed {status.commit_index}: {' '.join(applied) or '-'}"
        )
