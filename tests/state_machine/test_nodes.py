"""Rows of nodes: who ended and left the cluster is forgotten, who is at work is not."""

from __future__ import annotations

import pytest

from chronos_common.commands import ForgetNode, ReleaseNode
from chronos_common.models import NodeInfo, NodeState
from chronos_worker.leader import plan_forgetting
from chronos_worker.store.planning_queries import list_nodes
from tests.state_machine.conftest import ME, OTHER


def known(ledger):
    with ledger.database.read() as connection:
        return {node.node_id for node in list_nodes(connection)}


@pytest.mark.parametrize("ended", ["lost", "left"])
def test_a_node_that_ended_is_forgotten(ledger, ended):
    ledger.apply(ReleaseNode(2_000, OTHER, ended))
    ledger.apply(ForgetNode(OTHER.node_id))
    assert known(ledger) == {ME.node_id}


@pytest.mark.parametrize("state", ["live", "draining"])
def test_a_node_at_work_is_not_forgotten(ledger, state):
    if state == "draining":
        ledger.apply(ReleaseNode(2_000, OTHER, state))
    ledger.apply(ForgetNode(OTHER.node_id))
    assert known(ledger) == {ME.node_id, OTHER.node_id}


def test_only_who_ended_and_is_no_member_is_to_be_forgotten():
    nodes = [NodeInfo(state.value, 1, state, "http://c", 1) for state in NodeState]
    assert plan_forgetting(nodes, {"left"}) == [ForgetNode("lost")]
