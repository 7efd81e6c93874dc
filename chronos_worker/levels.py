"""Which commands may be proposed: those that every member has announced it reads (docs/adr/0007)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from chronos_common.commands import FIRST_LEVEL, Command, RaiseLevel
from chronos_common.models import NodeInfo

PATIENCE_S: Final = 2.0
"""How long a raise may stay unseen before it is proposed again."""


class Raising:
    """The leader's part: the level rises once every member reads more."""

    def __init__(self) -> None:
        self._said_at_s = float("-inf")

    def plan(self, level: int, members: Collection[str], nodes: Iterable[NodeInfo], now_s: float) -> list[Command]:
        """The command that raises the level as far as all members read, until that was applied."""
        reads = {node.node_id: node.reads for node in nodes}
        lowest = min((reads.get(member, FIRST_LEVEL) for member in members), default=FIRST_LEVEL)
        if lowest <= level or now_s - self._said_at_s < PATIENCE_S:
            return []
        self._said_at_s = now_s
        return [RaiseLevel(lowest, tuple(sorted(members)))]


def needs_upgrade(wanted: int, level: int, members: Iterable[str], nodes: Iterable[NodeInfo]) -> str:
    """Why a command of level `wanted` has to wait, for whoever asked for it."""
    known = {node.node_id: node for node in nodes}
    behind = []
    for member in sorted(members):
        node = known.get(member)
        if node is None:
            behind.append(f"{member} has not been heard of yet")
        elif node.reads < wanted:
            behind.append(f"{member} runs {node.version}, which reads up to {node.reads}")
    return (
        f"this needs command level {wanted} and the cluster is at {level}: "
        + ("; ".join(behind) if behind else "it is about to rise")
        + ". Upgrade every node first"
    )
