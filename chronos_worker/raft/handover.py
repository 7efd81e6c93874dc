"""Handing leadership over (Raft thesis §3.10): stop taking entries, let the heir catch up, ask it to stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from chronos_worker.raft.messages import TimeoutNow

if TYPE_CHECKING:
    from collections.abc import Callable

    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.network import Network

_log = structlog.get_logger("chronos.raft")


class Handover:
    """At most one attempt at a time, given up after `patience_s`."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        network: Network,
        clock: Callable[[], float],
        patience_s: float,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._network = network
        self._clock = clock
        self._patience_s = patience_s
        self._heir: str | None = None
        self._asked = False
        self._until = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether entries are to be refused because leadership is about to move."""
        return self._heir is not None

    def begin(self, to: str | None) -> None:
        """Start towards `to`, or towards the connected follower that lags least. On a leader only."""
        if self._heir is not None or self._engine.role() != "leader":
            return
        matches = self._engine.match_index()
        present = {peer: index for peer, index in matches.items() if self._network.is_connected(peer)}
        heir = to if to is not None else max(present, key=lambda peer: (present[peer], peer), default=None)
        if heir not in present:
            _log.warning("raft_handover_refused", to=to, connected=sorted(present))
            return
        self._heir, self._asked = heir, False
        self._until = self._clock() + self._patience_s

    def advance(self) -> None:
        """Ask the heir once it has everything; end when it leads or time is up."""
        if self._heir is None:
            return
        if self._engine.role() != "leader" or self._clock() > self._until:
            self._heir = None
        elif not self._asked and self._engine.match_index()[self._heir] == self._journal.last_index:
            self._asked = self._network.send(self._heir, TimeoutNow(self._engine.term()))
