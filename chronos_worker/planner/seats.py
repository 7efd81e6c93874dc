"""Who has room: handing seats of live nodes to executions, evenly."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from chronos_common.commands import Claim
from chronos_common.models import NodeInfo, NodeState


class Seats:
    """Free seats of the live nodes at one moment. `take` always picks the node with most room left."""

    def __init__(self, nodes: Iterable[NodeInfo], running: Mapping[str, int]) -> None:
        live = [node for node in nodes if node.state is NodeState.LIVE]
        self.claims = tuple(Claim(node.node_id, node.incarnation) for node in live)
        self._free = [max(0, node.seats - running.get(node.node_id, 0)) for node in live]
        self._room = [(-free, index) for index, free in enumerate(self._free) if free]
        heapq.heapify(self._room)

    def take(self) -> int | None:
        """The index in `claims` of a node with a free seat, now taken; None if there is none."""
        if not self._room:
            return None
        negative_free, index = self._room[0]
        if negative_free == -1:
            heapq.heappop(self._room)
        else:
            heapq.heapreplace(self._room, (negative_free + 1, index))
        return index

    def taken(self) -> dict[str, int]:
        """How many seats were taken here, by node id."""
        left = {index: -negative_free for negative_free, index in self._room}
        return {
            claim.node_id: free - left.get(index, 0)
            for index, (claim, free) in enumerate(zip(self.claims, self._free, strict=True))
        }

    @property
    def any_free(self) -> bool:
        """Whether anybody has room."""
        return bool(self._room)
