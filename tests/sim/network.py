"""A network on a virtual clock: delays, cuts, one-way cuts, and what comes late after a reconnect.

Messages travel as the bytes they would be on a wire. Within one connection they keep their order, as TCP keeps
it. A pair is connected while both ends live and neither direction is cut; a cut that lasts breaks the
connection, and so does an end that is stopped for as long. What was under way then arrives up to a drawn point, as
from a process that died after its last words had reached the wire. With `haunting`, the rest may still arrive after
the next connection is up, even twice: more than the real transport allows.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from chronos_worker.raft.greeting import Doorkeeper
from chronos_worker.raft.membership import Agreed
from chronos_worker.raft.messages import Message, decode, encode
from chronos_worker.raft.network import Receiver

_SILENCE_S = 0.02


class VirtualClock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = self.origin = now

    def __call__(self) -> float:
        return self.now


@dataclass(order=True)
class _Event:
    at: float
    number: int
    kind: str = field(compare=False)
    peer: str = field(compare=False)
    payload: bytes = field(compare=False, default=b"")
    connection: int = field(compare=False, default=0)


class SimNetwork:
    """All endpoints and the links between them."""

    def __init__(
        self,
        random: Random,
        clock: VirtualClock,
        *,
        delay_s: tuple[float, float] = (0.0005, 0.01),
        link_timeout_s: float = 1.0,
        haunting: float = 0.0,
    ) -> None:
        self._random = random
        self.clock = clock
        self.delay_s = delay_s
        self.haunting = haunting
        self._link_timeout_s = link_timeout_s
        self._endpoints: dict[str, SimEndpoint] = {}
        self._cut: set[tuple[str, str]] = set()
        self._asleep: set[str] = set()
        self._connections: dict[frozenset[str], int] = {}
        self._broken_at: dict[frozenset[str], float] = {}
        self._arrives: dict[tuple[str, str], float] = {}
        self._ends: dict[tuple[str, str], float] = {}
        self.last_words_arrive = False
        """Whether all that is under way when a connection ends still arrives, instead of a drawn part."""
        self.lost: set[tuple[str, str, type[Message]]] = set()
        """Kinds of messages that do not arrive, by source and target."""
        self.latest: dict[tuple[str, str, type[Message]], bytes] = {}
        """The latest message of each kind between two nodes."""
        self._numbers = 0
        self.trace: Callable[[str], None] = lambda _line: None

    def endpoint(self, node_id: str) -> SimEndpoint:
        """Attach a (re)started node."""
        if node_id in self._endpoints:
            self.remove(node_id)  # it failed to start after it had been given this one
        self._endpoints[node_id] = endpoint = SimEndpoint(self, node_id)
        return endpoint

    def review(self, node_id: str) -> None:
        """A node follows another list of members: links it no longer wants break, others may come about."""
        for pair in self._pairs(node_id):
            if not self._agree(*sorted(pair)):
                self._disconnect(pair)
        self._reconnect()

    def cut(self, source: str, target: str) -> None:
        """Drop what goes from `source` to `target` from now on."""
        self._cut.add((source, target))
        pair = frozenset((source, target))
        if pair in self._connections:
            self._broken_at.setdefault(pair, self.clock.now + self._link_timeout_s * self._random.random())

    def cut_both(self, one: str, other: str) -> None:
        """Separate two nodes."""
        self.cut(one, other)
        self.cut(other, one)

    def heal(self, *nodes: str) -> None:
        """Mend all cuts among `nodes`; without any, everything passes again."""
        if not nodes:
            self.lost.clear()
        self._cut = {cut for cut in self._cut if nodes and not set(cut) <= set(nodes)}
        self._spare()
        self._reconnect()

    def sleep(self, names: set[str]) -> None:
        """These processes are stopped: what they are sent waits for them, and others give up their links."""
        if names == self._asleep:
            return
        self._asleep = names
        for pair in sorted(self._connections, key=sorted):
            if pair & names:
                self._broken_at.setdefault(pair, self.clock.now + self._link_timeout_s)
        self._spare()

    def _spare(self) -> None:
        """What can be heard again before it broke does not break."""
        self._broken_at = {
            pair: at for pair, at in self._broken_at.items() if self._is_cut(pair) or pair & self._asleep
        }

    def remove(self, node_id: str) -> None:
        """The node is gone, and its connections with it."""
        for pair in self._pairs(node_id):
            self._disconnect(pair)
        self._endpoints.pop(node_id, None)

    def lay(self, node_id: str) -> None:
        """Drop the ghosts of a node whose disk is lost: links of a real network do not outlive both ends."""
        for endpoint in self._endpoints.values():
            endpoint.inbox = [event for event in endpoint.inbox if event.peer != node_id or event.kind != "ghost"]
            heapq.heapify(endpoint.inbox)

    def advance(self) -> None:
        """Break connections whose time has come, and make those that can be made."""
        for pair, at in list(self._broken_at.items()):
            if at <= self.clock.now:
                del self._broken_at[pair]
                self._disconnect(pair)
        self._reconnect()

    def is_cut(self, one: str, other: str) -> bool:
        """Tell whether anything between two nodes is lost, in either direction."""
        return (one, other) in self._cut or (other, one) in self._cut

    def silent_s(self, source: str, to: str) -> float:
        """Seconds since anything of `source` reached the process of `to`."""
        return self.clock.now - self._endpoints[to].last_heard().get(source, -math.inf)

    def next_event_at(self) -> float | None:
        """When something will happen next."""
        times = [endpoint.inbox[0].at for endpoint in self._endpoints.values() if endpoint.inbox]
        times += self._broken_at.values()
        return min(times, default=None)

    def is_connected(self, one: str, other: str) -> bool:
        """Tell whether two nodes have a connection."""
        return frozenset((one, other)) in self._connections

    def send(self, source: str, target: str, message: Message) -> bool:
        """Put a message on its way."""
        connection = self._connections.get(frozenset((source, target)))
        if connection is None:
            return False
        payload = encode(message)
        self.latest[source, target, type(message)] = payload
        if (source, target) not in self._cut and (source, target, type(message)) not in self.lost:
            at = max(self.clock.now + self._random.uniform(*self.delay_s), self._arrives.get((source, target), 0))
            self._arrives[source, target] = at
            self._post(target, at, "message", source, payload, connection)
        return True

    def repeat(self, source: str, target: str, payload: bytes) -> None:
        """Let an old message arrive now."""
        self._post(target, self.clock.now, "ghost", source, payload, 0)

    def is_current(self, one: str, other: str, connection: int) -> bool:
        """Tell whether a connection is the one the pair has now."""
        return self._connections.get(frozenset((one, other))) == connection

    # -- connections --------------------------------------------------------------------------------------

    def _pairs(self, node_id: str) -> list[frozenset[str]]:
        return sorted((pair for pair in self._connections if node_id in pair), key=sorted)

    def _agree(self, one: str, other: str) -> bool:
        """Whether both ends let the other in, as the real transport asks in its greeting."""
        ends = self._endpoints[one], self._endpoints[other]
        return ends[0].lets_in(ends[1]) and ends[1].lets_in(ends[0])

    def _is_cut(self, pair: frozenset[str]) -> bool:
        return self.is_cut(*sorted(pair))

    def _reconnect(self) -> None:
        names = sorted(self._endpoints)
        for one in names:
            for other in names:
                pair = frozenset((one, other))
                if one >= other or pair in self._connections:
                    continue
                if not (self._is_cut(pair) or pair & self._asleep) and self._agree(one, other):
                    self._numbers += 1
                    self._connections[pair] = connection = self._numbers
                    over = max(self._ends.pop(ends, 0.0) for ends in ((one, other), (other, one)))
                    at = max(self.clock.now + self._random.uniform(*self.delay_s), over)
                    for near, far in ((one, other), (other, one)):
                        self._arrives[near, far] = at
                        self._post(near, at, "connected", far, b"", connection)

    def _disconnect(self, pair: frozenset[str]) -> None:
        connection = self._connections.pop(pair)
        self._broken_at.pop(pair, None)
        one, other = sorted(pair)
        for near, far in ((one, other), (other, one)):
            self._ends[near, far] = over = self._end(self._endpoints[near], far)
            self._post(near, over, "disconnected", far, b"", connection)

    def _end(self, endpoint: SimEndpoint, far: str) -> float:
        """Some messages under way still arrive; the rest are lost, or come back as ghosts.

        Returns when this end learns that it is over: after a power cut nobody says so, so it may take a while.
        """
        under_way = sorted(event for event in endpoint.inbox if event.peer == far and event.kind == "message")
        kept = len(under_way)
        silence_s = _SILENCE_S
        if not self.last_words_arrive:
            silence_s = self._random.choice([0.0, self._random.uniform(0.0, self._link_timeout_s)])
            kept = self._random.choice([0, kept, self._random.randint(0, kept)])
        for event in under_way[kept:]:
            endpoint.inbox.remove(event)
            while self._random.random() < self.haunting:
                at = self.clock.now + self._random.uniform(0.0, 3.0)
                self._post(endpoint.node_id, at, "ghost", far, event.payload, 0)
        heapq.heapify(endpoint.inbox)
        return max(event.at for event in under_way[:kept]) + silence_s if kept else self.clock.now

    def _post(self, to: str, at: float, kind: str, peer: str, payload: bytes, connection: int) -> None:
        self._numbers += 1
        heapq.heappush(self._endpoints[to].inbox, _Event(at, self._numbers, kind, peer, payload, connection))


class SimEndpoint:
    """`Network` of one node. Nothing waits: the simulation decides when `poll` is called."""

    def __init__(self, network: SimNetwork, node_id: str) -> None:
        self._network = network
        self.node_id = node_id
        self.inbox: list[_Event] = []
        self._receiver: Receiver | None = None
        self._connected: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._door: Doorkeeper | None = None
        self._version = (0, 0)

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def configure(self, agreed: Agreed, staying: frozenset[str]) -> None:
        self._door = Doorkeeper(self.node_id, "", agreed)
        self._door.configure(agreed, staying)
        self._version = agreed.version
        self._network.review(self.node_id)

    def lets_in(self, other: SimEndpoint) -> bool:
        return self._door is not None and self._door.belongs(other.node_id, other._version)

    def poll(self, _timeout_s: float) -> None:
        assert self._receiver is not None
        for event in self._due():
            self._network.trace(f"{event.kind} {event.peer}>{self.node_id} {event.payload.hex()}")
            if event.kind == "connected":
                if self._network.is_current(self.node_id, event.peer, event.connection):
                    self._connected[event.peer] = event.connection
                    self._receiver.on_connected(event.peer)
            elif event.kind == "disconnected":
                if self._connected.pop(event.peer, None) is not None:
                    self._receiver.on_disconnected(event.peer)
            else:
                self._heard[event.peer] = self._network.clock.now
                self._receiver.on_message(event.peer, decode(event.payload))

    def _due(self) -> Iterator[_Event]:
        while self.inbox and self.inbox[0].at <= self._network.clock.now:
            yield heapq.heappop(self.inbox)

    def send(self, peer: str, message: Message) -> bool:
        return peer in self._connected and self._network.send(self.node_id, peer, message)

    def flush(self) -> None:
        pass

    def is_connected(self, peer: str) -> bool:
        return peer in self._connected

    def last_heard(self) -> dict[str, float]:
        return dict(self._heard)

    def rejected(self) -> dict[str, int]:
        return {}

    def problems(self) -> dict[str, str]:
        return {}

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass
