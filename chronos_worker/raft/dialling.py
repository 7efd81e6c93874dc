"""Whom to call, and when again."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chronos_worker.raft.addresses import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from chronos_worker.raft.config import Timing
    from chronos_worker.raft.resolver import Endpoint, Resolver


@dataclass(slots=True)
class _Target:
    text: str
    address: Address
    next_at: float = 0.0
    attempts: int = 0
    busy: bool = False


class Dialling:
    """One call per peer at a time, repeated after `redial_s` with some jitter, for ever."""

    def __init__(self, peers: dict[str, str], timing: Timing, resolver: Resolver, random: Random) -> None:
        self._targets = {peer: _Target(text, parse_address(text)) for peer, text in sorted(peers.items())}
        self._timing = timing
        self._resolver = resolver
        self._random = random

    def due(self, now: float) -> Iterator[tuple[str, str, socket.socket]]:
        """Yield (peer, address, connecting socket) for every call begun now."""
        for peer, target in self._targets.items():
            if target.busy or now < target.next_at:
                continue
            try:
                endpoints = self._resolver.lookup(target.address)
                if endpoints is None:
                    continue
                connection = _connect(endpoints[target.attempts % len(endpoints)])
            except OSError:
                self._again(target, now)
            else:
                target.busy = True
                yield peer, target.text, connection

    def ended(self, peer: str, now: float) -> None:
        """The call to `peer` is over, or its link broke."""
        self._again(self._targets[peer], now)

    def close(self) -> None:
        """Stop resolving."""
        self._resolver.close()

    def _again(self, target: _Target, now: float) -> None:
        target.busy = False
        target.attempts += 1
        target.next_at = now + self._timing.redial_s * (0.5 + self._random.random())


def _connect(endpoint: Endpoint) -> socket.socket:
    family, where = endpoint
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(where)
    except BlockingIOError:
        pass
    except OSError:
        connection.close()
        raise
    return connection
