"""The lives of this node: announcing one, noticing that it was ended by others, draining, leaving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from chronos_common import VERSION
from chronos_common.commands import AnnounceNode, Claim, Command, ReleaseNode
from chronos_common.models import NodeInfo, NodeState

PATIENCE_S: Final = 1.0
"""How long an announcement may stay unseen before it is made again."""

_ENDED: Final = (NodeState.LOST, NodeState.LEFT)


class Life:
    """This process as the cluster knows it.

    `reads` is the highest level of commands this build reads. `next_incarnation(at_least)` gives a number never
    used by this node before, already on disk.
    """

    def __init__(
        self, node_id: str, control_url: str, seats: int, reads: int, next_incarnation: Callable[[int], int]
    ) -> None:
        self._reads = reads
        self._node_id = node_id
        self._control_url = control_url
        self._seats = seats
        self._next_incarnation = next_incarnation
        self._said_at_s = float("-inf")
        self._row: NodeInfo | None = None
        self.claim: Claim | None = None
        """Node id and incarnation, from the moment a life begins."""

    def see(self, nodes: Sequence[NodeInfo]) -> None:
        """The replicated rows changed."""
        row = next((node for node in nodes if node.node_id == self._node_id), None)
        if row != self._row:
            self._said_at_s = float("-inf")
        self._row = row

    @property
    def over(self) -> bool:
        """Whether the cluster has ended this life, or knows a later one, though we still run."""
        row, claim = self._row, self.claim
        if row is None or claim is None:
            return False
        return row.incarnation > claim.incarnation or (row.incarnation == claim.incarnation and row.state in _ENDED)

    @property
    def working(self) -> bool:
        """Whether the cluster may give us work."""
        return self._state is NodeState.LIVE

    @property
    def draining(self) -> bool:
        """Whether the cluster knows that we are about to leave."""
        return self._state is NodeState.DRAINING

    @property
    def left(self) -> bool:
        """Whether the cluster has let us go."""
        return self._state is NodeState.LEFT

    @property
    def _state(self) -> NodeState | None:
        row, claim = self._row, self.claim
        if row is None or claim is None or row.incarnation != claim.incarnation:
            return None
        return row.state

    def begin(self) -> Claim:
        """Start a life later than any the cluster knows of."""
        known = 0 if self._row is None else self._row.incarnation
        self.claim = Claim(self._node_id, self._next_incarnation(known + 1))
        self._said_at_s = float("-inf")
        return self.claim

    def announce(self, now: int, now_s: float) -> list[Command]:
        """The announcement of this life, until the rows show it."""
        if self.claim is None or self._state is not None or not self._due(now_s):
            return []
        node = NodeInfo(
            self._node_id,
            self.claim.incarnation,
            NodeState.LIVE,
            self._control_url,
            self._seats,
            VERSION,
            now,
            self._reads,
        )
        return [AnnounceNode(now, node)]

    def release(self, state: NodeState, now: int, now_s: float) -> list[Command]:
        """Ask to be seen as draining or left, until the rows show it."""
        if self.claim is None or self._state is None or self._state is state or not self._due(now_s):
            return []
        return [ReleaseNode(now, self.claim, state.value)]

    def _due(self, now_s: float) -> bool:
        if now_s - self._said_at_s < PATIENCE_S:
            return False
        self._said_at_s = now_s
        return True
