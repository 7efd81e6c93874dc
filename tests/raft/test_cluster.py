"""Three real logs on the virtual network: the ordinary course of things."""

from __future__ import annotations

from tests.sim.cluster import SimCluster


def test_a_leader_is_elected_and_entries_reach_everybody_in_order(tmp_path):
    cluster = SimCluster(tmp_path)
    leader = cluster.elect()
    for number in range(20):
        assert cluster.propose(leader, f"{number}".encode())
    cluster.until(lambda: all(len(cluster.seen(name)) == 20 for name in cluster.names))
    assert [data for _, data in cluster.seen("n1")] == [f"{number}".encode() for number in range(20)]
    assert len(cluster.states()) == 1
