"""Applying what happens to nodes: lives that begin, drain, end or are declared lost."""

from __future__ import annotations

from chronos_common.commands import FIRST_LEVEL, AnnounceNode, ForgetNode, RaiseLevel, ReleaseNode
from chronos_common.models import NodeState
from chronos_worker.state_machine.context import Applying
from chronos_worker.state_machine.effects import NodesChanged
from chronos_worker.state_machine.endings import lose_attempts

_UPSERT: str = """
    INSERT INTO nodes (node_id, incarnation, state, control_url, seats, version, announced_at, reads)
    VALUES (?, ?, 'live', ?, ?, ?, ?, ?)
    ON CONFLICT (node_id) DO UPDATE SET incarnation = excluded.incarnation, state = excluded.state,
        control_url = excluded.control_url, seats = excluded.seats, version = excluded.version,
        announced_at = excluded.announced_at, reads = excluded.reads"""


def announce_node(tx: Applying, command: AnnounceNode) -> None:
    """Begin a life that is newer than the one on record; what its earlier lives ran is lost."""
    node = command.node
    known = tx.row("SELECT incarnation FROM nodes WHERE node_id = ?", node.node_id)
    if known is not None and known[0] >= node.incarnation:
        return
    lose_attempts(tx, node.node_id, node.incarnation - 1, command.at)
    tx.change(_UPSERT, node.node_id, node.incarnation, node.control_url, node.seats, node.version, command.at,
              node.reads)  # fmt: skip
    tx.effects.append(NodesChanged(node.node_id))


def release_node(tx: Applying, command: ReleaseNode) -> None:
    """Stop giving work to a life; unless it only drains, what it ran is due again elsewhere."""
    claim, state = command.claim, NodeState(command.state)
    changed = tx.change(
        "UPDATE nodes SET state = ? WHERE node_id = ? AND incarnation = ? AND state IN ('live', 'draining')",
        state.value,
        claim.node_id,
        claim.incarnation,
    )
    if not changed:
        return
    if state is not NodeState.DRAINING:
        lose_attempts(tx, claim.node_id, claim.incarnation, command.at)
    tx.effects.append(NodesChanged(claim.node_id))


def raise_level(tx: Applying, command: RaiseLevel) -> None:
    """Allow commands up to a higher level, if every member named has announced that it reads them."""
    if command.raise_to <= tx.level:
        return
    reads = dict(tx.rows("SELECT node_id, reads FROM nodes"))
    if all(reads.get(member, FIRST_LEVEL) >= command.raise_to for member in command.members):
        tx.level = command.raise_to


def forget_node(tx: Applying, command: ForgetNode) -> None:
    """Drop the row of a node that was declared lost or left; one at work stays."""
    if tx.change("DELETE FROM nodes WHERE node_id = ? AND state IN ('lost', 'left')", command.node_id):
        tx.effects.append(NodesChanged(command.node_id))
