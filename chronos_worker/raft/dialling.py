"""Whom to call, and when again."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chronos_worker.raft.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from random import Random

    from chronos_worker.raft.config import Timing
    from chronos_worker.raft.resolver import Endpoint, Resolver


@dataclass(slots=True)
class _Target:
    addresses: list[str]
    next_at: float = 0.0
    attempts: int = 0
    busy: bool = False


class Dialling:
    """One call per peer at a time, repeated after `redial_s` with some jitter, for ever.

    The greater id of a pair calls at once. The lesser calls as well when no link has come about for
    `link_timeout_s`: the other may not know where it lives now, or that it belongs here.
    """

    def __init__(
        self, node_id: str, configured: Mapping[str, str], timing: Timing, resolver: Resolver, random: Random
    ) -> None:
        self._node_id = node_id
        self._configured = dict(configured)
        self._timing = timing
        self._resolver = resolver
        self._random = random
        self._targets: dict[str, _Target] = {}
        self._members: frozenset[str] = frozenset()

    def configure(self, members: Mapping[str, str], now: float) -> None:
        """Call these from now on, at the address the configuration file names or else at the agreed one.

        Who is only in the configuration file is called while nobody else is there: it may know of a newer list.
        """
        self._members = frozenset(members)
        addresses = {
            peer: [text for text in dict.fromkeys((self._configured.get(peer), members.get(peer))) if text]
            for peer in sorted({*self._configured, *members} - {self._node_id})
        }
        for gone in self._targets.keys() - addresses.keys():
            del self._targets[gone]
        for peer, where in addresses.items():
            if peer not in self._targets:
                first_at = now if self._node_id > peer else now + self._timing.link_timeout_s
                self._targets[peer] = _Target([], first_at)
            self._targets[peer].addresses = where

    def due(self, now: float, connected: Collection[str]) -> Iterator[tuple[str, str, socket.socket]]:
        """Yield (peer, address, connecting socket) for every call begun now."""
        for peer, target in self._targets.items():
            if peer in connected or (connected and peer not in self._members):
                target.next_at = max(target.next_at, now + self._pause_s(peer))
            if target.busy or now < target.next_at or not target.addresses:
                continue
            address = target.addresses[target.attempts % len(target.addresses)]
            try:
                endpoints = self._resolver.lookup(parse_address(address))
                if endpoints is None:
                    continue
                connection = _connect(endpoints[target.attempts // len(target.addresses) % len(endpoints)])
            except OSError:
                self._again(peer, now)
            else:
                target.busy = True
                yield peer, address, connection

    def ended(self, peer: str, now: float) -> None:
        """The call to `peer` is over, or its link broke."""
        self._again(peer, now)

    def close(self) -> None:
        """Stop resolving."""
        self._resolver.close()

    def _again(self, peer: str, now: float) -> None:
        target = self._targets.get(peer)
        if target is not None:
            target.busy = False
            target.attempts += 1
            target.next_at = now + self._pause_s(peer) * (0.5 + self._random.random())

    def _pause_s(self, peer: str) -> float:
        return self._timing.redial_s if self._node_id > peer else self._timing.link_timeout_s


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
