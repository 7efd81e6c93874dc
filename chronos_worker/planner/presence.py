"""Which nodes are to be declared lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chronos_common.commands import Claim, ReleaseNode
from chronos_common.models import NodeInfo, NodeState

_AT_WORK = frozenset({NodeState.LIVE, NodeState.DRAINING})


class Presence:
    """How long each node has been out of contact, as the leader has watched it.

    Silence counts only while we watch: a leader that was itself paused starts its watch anew, so that it
    never blames its peers for its own absence.
    """

    def __init__(self, grace_s: float, watch_gap_s: float) -> None:
        self._grace_s = grace_s
        self._watch_gap_s = watch_gap_s
        self._silent_since: dict[str, float] = {}
        self._watched_at: float | None = None

    def watch(self, silence_s: Mapping[str, float | None], now_s: float) -> None:
        """Note how long each peer has been silent (None: never heard). `now_s` is monotonic."""
        if self._watched_at is None or now_s - self._watched_at > self._watch_gap_s:
            self._silent_since.clear()
        started = self._watched_at is None or now_s - self._watched_at > self._watch_gap_s
        self._watched_at = now_s
        for node_id, silent in silence_s.items():
            if silent is not None and silent < self._grace_s / 2:
                self._silent_since.pop(node_id, None)
            elif started or node_id not in self._silent_since:
                self._silent_since[node_id] = now_s

    def forget(self) -> None:
        """We do not lead any more."""
        self._silent_since.clear()
        self._watched_at = None

    def lost(self, nodes: Iterable[NodeInfo], me: str, at: int, now_s: float) -> list[ReleaseNode]:
        """A release for each working node whose silence has outlasted the grace."""
        return [
            ReleaseNode(at, Claim(node.node_id, node.incarnation), NodeState.LOST.value)
            for node in nodes
            if node.state in _AT_WORK
            and node.node_id != me
            and (since := self._silent_since.get(node.node_id)) is not None
            and now_s - since >= self._grace_s / 2
        ]
