"""Real logs on the virtual network: the ordinary course of things, and the schedules that matter most."""

from __future__ import annotations

import pytest

from chronos_worker.raft import MAX_ENTRY_BYTES, EntryTooLarge, FatalLogError, Limits, LogClosed, NoLeader, QueueFull
from tests.sim.cluster import TIMING, LawBroken, SimCluster


@pytest.fixture
def cluster(tmp_path):
    # One chunk of a snapshot on its way at a time: a transfer takes several round trips.
    limits = Limits(trailing_entries=5, trailing_bytes=2000, snapshot_chunk_bytes=50, snapshot_window_bytes=50)
    running = SimCluster(tmp_path, limits=limits)
    yield running
    running.close()


def others_of(cluster, name):
    return [other for other in cluster.names if other != name]


def isolate(cluster, name):
    for other in others_of(cluster, name):
        cluster.network.cut_both(name, other)


def commit_many(cluster, count, prefix="entry"):
    """Propose each once and wait until every living node has them all."""
    last = b""
    for number in range(count):
        last = f"{prefix} {number}".encode()
        assert cluster.propose(cluster.leader(), last)
    cluster.until(lambda: all(holds(cluster, node.node_id, last) for node in cluster.alive()))


def settle(cluster):
    """Wait until all replicas are the same."""
    cluster.until(lambda: len(cluster.alive()) == len(cluster.names) and len(cluster.states()) == 1)


def holds(cluster, name, data):
    return any(found == data for _, found in cluster.seen(name))


def test_a_leader_is_elected_and_entries_reach_everybody_in_order(cluster):
    leader = cluster.elect()
    for number in range(20):
        assert cluster.propose(leader, f"{number}".encode())
    cluster.until(lambda: all(len(cluster.seen(name)) == 20 for name in cluster.names))
    assert [data for _, data in cluster.seen("n1")] == [f"{number}".encode() for number in range(20)]
    settle(cluster)


def test_what_a_follower_proposes_goes_by_way_of_the_leader(cluster):
    follower = others_of(cluster, cluster.elect())[0]
    assert cluster.propose(follower, b"from below")
    cluster.until(lambda: all(holds(cluster, name, b"from below") for name in cluster.names))


def test_a_new_cluster_begins_when_all_its_members_have_met(cluster):
    cluster.crash("n3")
    cluster.run(10.0)
    assert cluster.leader() is None
    cluster.start("n3")
    cluster.elect()
    cluster.commit(b"begun")
    cluster.crash("n3")
    cluster.until(lambda: cluster.leader() is not None)
    cluster.commit(b"goes on with a majority")


def test_the_first_leader_may_die_before_anything_is_committed(cluster):
    cluster.until(lambda: cluster.leader() is not None)
    first = cluster.leader()
    cluster.crash(first)
    cluster.run(1.0)
    cluster.start(first)
    cluster.elect()
    cluster.commit(b"no harm done")


def test_without_a_leader_nothing_is_taken(cluster):
    leader = cluster.elect()
    isolate(cluster, leader)
    cluster.run(TIMING.quorum_loss_s + TIMING.heartbeat_s)
    assert cluster.status(leader).role != "leader"
    with pytest.raises(NoLeader):
        cluster.log(leader).propose(b"to nobody")


def test_who_comes_back_from_a_partition_deposes_nobody(cluster):
    leader = cluster.elect()
    lonely = others_of(cluster, leader)[0]
    isolate(cluster, lonely)
    term = cluster.status(leader).term
    cluster.run(10.0)
    cluster.network.heal()
    cluster.commit(b"after the return")
    assert (cluster.leader(), cluster.status(leader).term) == (leader, term)


def test_a_leader_that_cannot_be_heard_is_replaced_though_it_hears(cluster):
    leader = cluster.elect()
    cluster.commit(b"everybody has joined")
    for other in others_of(cluster, leader):
        cluster.network.cut(leader, other)
    cluster.until(lambda: cluster.leader() not in (None, leader))
    cluster.network.heal()
    cluster.commit(b"one leader again")


def test_leadership_is_handed_over_without_an_election_timeout(cluster):
    leader = cluster.elect()
    cluster.commit(b"before")
    chosen = others_of(cluster, leader)[1]
    began = cluster.clock.now
    cluster.log(leader).transfer_leadership(chosen)
    cluster.until(lambda: cluster.leader() == chosen)
    assert cluster.clock.now - began < TIMING.election_min_s


def test_a_broken_link_to_the_leader_starts_the_election_at_once(cluster):
    leader = cluster.elect()
    cluster.commit(b"before")
    began = cluster.clock.now
    cluster.crash(leader)
    cluster.until(lambda: cluster.leader() is not None)
    assert cluster.clock.now - began < TIMING.election_min_s


def test_acknowledgements_wait_for_the_sync(cluster):
    """Followers whose disks do not sync acknowledge nothing, so nothing is committed."""
    leader = cluster.elect()
    cluster.commit(b"before")
    for other in others_of(cluster, leader):
        cluster.nodes[other].disk.sync_fails = True
    cluster.propose(leader, b"not durable anywhere else")
    for _ in range(50):
        for name in cluster.names:
            try:
                cluster.poll(name)
            except FatalLogError:
                cluster.nodes[name].log = None
        cluster.clock.now += 0.01
    assert not holds(cluster, leader, b"not durable anywhere else")


def test_a_disk_that_failed_closes_the_log_for_good(cluster):
    follower = others_of(cluster, cluster.elect())[0]
    cluster.nodes[follower].disk.sync_fails = True
    cluster.propose(cluster.leader(), b"anything")
    with pytest.raises(FatalLogError):
        cluster.run(1.0)
    cluster.nodes[follower].disk.sync_fails = False
    with pytest.raises(LogClosed):
        cluster.log(follower).poll(0.0)


def test_a_node_without_memory_does_not_help_a_stale_one(cluster):
    """W and U hold an entry, U loses its disk and W is down: the stale V must not lead, and W's return heals all."""
    leader = cluster.elect()
    cluster.commit(b"before")
    witness, stale = others_of(cluster, leader)
    isolate(cluster, stale)
    cluster.propose(leader, b"held by two")
    cluster.until(lambda: holds(cluster, leader, b"held by two"))
    cluster.lose_disk(witness)
    cluster.crash(leader)
    cluster.network.heal()
    cluster.start(witness)
    cluster.run(20.0)
    assert cluster.leader() is None
    cluster.start(leader)
    cluster.until(lambda: all(holds(cluster, name, b"held by two") for name in cluster.names))


def test_a_lost_disk_is_filled_again_and_then_counts(cluster):
    leader = cluster.elect()
    commit_many(cluster, 5)
    lost = others_of(cluster, leader)[0]
    cluster.lose_disk(lost)
    cluster.start(lost)
    cluster.until(lambda: cluster.status(lost).is_caught_up)
    assert cluster.seen(lost) == cluster.seen(leader)
    cluster.crash(leader)
    cluster.until(lambda: cluster.leader() is not None)
    cluster.commit(b"elected with the help of the new disk")


def fall_behind(cluster):
    """Let one follower miss so much that the leader has cut what it lacks."""
    leader = cluster.elect()
    commit_many(cluster, 3, "early")
    behind = others_of(cluster, leader)[0]
    cluster.crash(behind)
    cluster.until(lambda: cluster.leader() is not None)
    commit_many(cluster, 40, "missed")
    leader = cluster.leader()
    for node in cluster.alive():
        node.log.compact(node.machine.make_durable())
    assert cluster.status(leader).first_index > 10
    return leader, behind


def test_who_lacks_what_was_cut_gets_a_snapshot_and_then_entries(cluster):
    _, behind = fall_behind(cluster)
    cluster.start(behind)
    cluster.until(lambda: cluster.nodes[behind].machine.installed)
    cluster.commit(b"after the snapshot")
    settle(cluster)


def test_a_snapshot_that_was_cut_off_goes_on_where_it_stopped(cluster):
    _, behind = fall_behind(cluster)
    cluster.start(behind)
    incoming = cluster.nodes[behind].directory / "incoming"
    cluster.until(lambda: incoming.exists() and incoming.stat().st_size >= 200, dt=0.001)
    cluster.crash(behind, power_cut=False)
    held = incoming.stat().st_size
    assert held >= 200
    cluster.start(behind)
    cluster.until(lambda: cluster.nodes[behind].machine.installed)
    cluster.commit(b"complete")
    settle(cluster)


def test_a_damaged_snapshot_is_refused_and_another_one_installed(cluster):
    _, behind = fall_behind(cluster)
    cluster.start(behind)
    incoming = cluster.nodes[behind].directory / "incoming"
    cluster.until(lambda: incoming.exists() and incoming.stat().st_size >= 200, dt=0.001)
    with incoming.open("r+b") as file:
        file.write(b"damaged")
    cluster.until(lambda: cluster.nodes[behind].machine.installed, within_s=60.0)
    cluster.commit(b"whole")
    settle(cluster)


def test_a_snapshot_that_the_state_machine_refuses_changes_nothing(cluster):
    _, behind = fall_behind(cluster)
    cluster.nodes[behind].machine.install_fails = True
    before = list(cluster.seen(behind))
    cluster.start(behind)
    cluster.run(5.0)
    assert (cluster.seen(behind), cluster.nodes[behind].machine.installed) == (before, [])
    cluster.nodes[behind].machine.install_fails = False
    cluster.until(lambda: cluster.nodes[behind].machine.installed, within_s=60.0)


@pytest.mark.parametrize("after", range(1, 40, 3))
def test_a_crash_anywhere_in_an_installation_is_made_good_at_the_next_start(tmp_path, after):
    cluster = SimCluster(tmp_path, seed=after)
    _, behind = fall_behind(cluster)
    cluster.start(behind)
    node = cluster.nodes[behind]
    node.disk.crash_at = node.disk.operations + after
    cluster.until(lambda: node.log is None or node.machine.installed)
    node.disk.crash_at = None
    if node.log is None:
        cluster.start(behind)
    cluster.commit(b"in the end", within_s=60.0)
    settle(cluster)
    cluster.close()


def test_every_entry_is_returned_once_also_across_restarts(cluster):
    cluster.elect()
    commit_many(cluster, 3)
    for name in cluster.names:
        cluster.nodes[name].machine.make_durable()
        cluster.crash(name)
    for name in cluster.names:
        cluster.start(name)
    cluster.elect()
    commit_many(cluster, 3, "more")
    for name in cluster.names:
        indexes = [index for index, _ in cluster.seen(name)]
        assert indexes == sorted(set(indexes))
        assert len(indexes) == 6


def test_an_entry_has_a_largest_size_and_is_never_empty(cluster):
    leader = cluster.log(cluster.elect())
    for data in (b"", bytes(MAX_ENTRY_BYTES + 1)):
        with pytest.raises(EntryTooLarge):
            leader.propose(data)
    leader.propose(bytes(MAX_ENTRY_BYTES))


def test_what_waits_is_bounded(tmp_path):
    cluster = SimCluster(tmp_path, limits=Limits(queue_entries=3, trailing_entries=5, trailing_bytes=2000))
    leader = cluster.log(cluster.elect())
    for _ in range(3):
        leader.propose(b"x")
    with pytest.raises(QueueFull):
        leader.propose(b"one too many")
    cluster.close()


def test_a_broken_law_is_noticed(cluster):
    """The simulation's own alarm: two nodes that return different entries at one index."""
    cluster.elect()
    cluster.commit(b"true")
    index = cluster.seen("n1")[-1][0]
    cluster.laws.committed[index] = (1, b"something else")
    cluster.crash("n1")
    cluster.start("n1")
    with pytest.raises(LawBroken):
        cluster.until(lambda: holds(cluster, "n1", b"true"))
