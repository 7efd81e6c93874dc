"""Members come and go by entries of the log (Raft §6), on the virtual network."""

from __future__ import annotations

import pytest

from chronos_worker.raft import (
    BadLogConfig,
    ChangePending,
    ChangeRefused,
    JournalCorrupt,
    Limits,
    LogConfig,
    NoLeader,
    open_log,
)
from chronos_worker.raft.files import OsFiles
from chronos_worker.raft.journal import Journal
from chronos_worker.raft.membership import (
    MAX_MEMBERS,
    Agreed,
    Configuration,
    Member,
    Membership,
    added,
    decode_agreed,
    encode_agreed,
    encode_command,
    founding,
    promoted,
    removed,
)
from tests.raft.machine import Machine
from tests.sim.cluster import SimCluster


@pytest.fixture
def cluster(tmp_path):
    running = SimCluster(tmp_path, limits=Limits(trailing_entries=5, trailing_bytes=2000, snapshot_chunk_bytes=50))
    running.elect()
    running.commit(b"everybody has joined")
    yield running
    running.close()


def others_of(cluster, name):
    return [other for other in cluster.names if other != name]


def isolate(cluster, name):
    for other in others_of(cluster, name):
        cluster.network.cut_both(name, other)


def change(cluster, ask):
    """Ask whoever leads until the change is taken."""

    def taken():
        leader = cluster.leader()
        if leader is None:
            return False
        try:
            ask(cluster.log(leader))
        except (NoLeader, ChangePending):
            return False
        return True

    cluster.until(taken)


def add(cluster, name, address=""):
    change(cluster, lambda log: log.add_member(name, address or f"{name}:7000"))


def remove(cluster, name):
    change(cluster, lambda log: log.remove_member(name))


def agree_on(cluster, voters):
    """Wait until these know that they vote, for good."""

    def agreed():
        views = [cluster.status(name) for name in voters]
        return all(view.voters == set(voters) and view.members_index <= view.commit_index for view in views)

    cluster.until(agreed)


def test_a_newcomer_catches_up_and_then_votes(cluster):
    cluster.join("n4")
    cluster.run(3.0)
    assert cluster.status("n4").leader_id is None  # nobody has let it in
    add(cluster, "n4")
    agree_on(cluster, ["n1", "n2", "n3", "n4"])
    assert cluster.seen("n4") == cluster.seen("n1")
    for name in others_of(cluster, cluster.elect())[:1]:
        cluster.crash(name)
    cluster.commit(b"three of four")


def test_a_newcomer_that_is_not_there_does_not_count(cluster):
    add(cluster, "n4")
    cluster.run(5.0)
    cluster.crash(others_of(cluster, cluster.leader())[0])
    cluster.commit(b"two of three still suffice")
    assert cluster.status(cluster.leader()).voters == {"n1", "n2", "n3"}


def test_a_newcomer_learns_the_members_from_a_snapshot(cluster):
    cluster.join("n4")
    add(cluster, "n4")
    agree_on(cluster, ["n1", "n2", "n3", "n4"])
    for number in range(30):
        cluster.commit(f"entry {number}".encode())
    for name in cluster.names:
        cluster.compact(name)
    cluster.join("n5")
    assert cluster.status(cluster.leader()).first_index > 10
    add(cluster, "n5")
    agree_on(cluster, ["n1", "n2", "n3", "n4", "n5"])
    assert cluster.status("n5").first_index > 10
    assert cluster.status("n5").cluster_id == cluster.status("n1").cluster_id


@pytest.mark.parametrize("compacted", [False, True])
def test_the_members_survive_the_restart_of_everybody(cluster, compacted):
    cluster.join("n4")
    add(cluster, "n4")
    agree_on(cluster, ["n1", "n2", "n3", "n4"])
    remove(cluster, "n1")
    agree_on(cluster, ["n2", "n3", "n4"])
    cluster.leave("n1")
    if compacted:
        for number in range(30):
            cluster.commit(f"entry {number}".encode())
        for name in cluster.names:
            cluster.compact(name)
    for name in cluster.names:
        cluster.crash(name)
    for name in cluster.names:
        cluster.start(name)
    cluster.elect()
    agree_on(cluster, ["n2", "n3", "n4"])
    cluster.commit(b"afterwards")


def test_a_removed_node_stays_out_and_disturbs_nobody(cluster):
    leader = cluster.elect()
    gone = others_of(cluster, leader)[0]
    remove(cluster, gone)
    cluster.until(lambda: not cluster.status(gone).is_member)
    term = cluster.status(leader).term
    cluster.run(10.0)
    cluster.crash(gone)
    cluster.start(gone)
    cluster.run(10.0)
    assert (cluster.leader(), cluster.status(leader).term) == (leader, term)
    assert not cluster.network.is_connected(leader, gone)


def test_who_was_removed_while_it_was_down_is_not_let_in(cluster):
    leader = cluster.elect()
    gone = others_of(cluster, leader)[0]
    cluster.crash(gone)
    remove(cluster, gone)
    cluster.commit(b"without it")
    term = cluster.status(leader).term
    cluster.start(gone)
    cluster.run(10.0)
    assert not cluster.network.is_connected(leader, gone)
    assert (cluster.leader(), cluster.status(leader).term) == (leader, term)


def test_a_removed_node_may_come_back_by_being_added(cluster):
    gone = others_of(cluster, cluster.elect())[0]
    remove(cluster, gone)
    cluster.run(3.0)
    add(cluster, gone)
    agree_on(cluster, ["n1", "n2", "n3"])
    cluster.commit(b"all three")


def test_a_leader_hands_over_before_it_is_removed(cluster):
    leader = cluster.elect()
    with pytest.raises(NoLeader, match="hands over"):
        cluster.log(leader).remove_member(leader)
    cluster.until(lambda: cluster.leader() not in (None, leader))
    remove(cluster, leader)
    cluster.until(lambda: not cluster.status(leader).is_member)
    cluster.leave(leader)
    cluster.commit(b"two are left")


def test_one_change_at_a_time(cluster):
    leader = cluster.elect()
    log = cluster.log(leader)
    log.add_member("n4", "n4:7000")
    with pytest.raises(ChangePending, match="another change"):
        log.add_member("n5", "n5:7000")
    cluster.run(1.0)
    log.add_member("n5", "n5:7000")


def test_a_new_leader_changes_nothing_before_its_term_has_committed(cluster):
    old = cluster.elect()
    heir = others_of(cluster, old)[0]
    cluster.log(old).transfer_leadership(heir)
    while cluster.status(heir).role != "leader":
        cluster.step()
    with pytest.raises(ChangePending, match="leadership is changing"):
        cluster.log(heir).add_member("n4", "n4:7000")
    cluster.run(1.0)
    cluster.log(heir).add_member("n4", "n4:7000")


def test_only_the_leader_changes_the_members(cluster):
    follower = others_of(cluster, cluster.elect())[0]
    with pytest.raises(NoLeader):
        cluster.log(follower).add_member("n4", "n4:7000")


def test_a_change_that_was_never_committed_is_undone_with_its_entry(cluster):
    """The new leader is the very node that the old one wanted to remove."""
    leader = cluster.elect()
    heir, witness = others_of(cluster, leader)
    isolate(cluster, leader)
    cluster.log(leader).remove_member(heir)
    assert heir not in cluster.status(leader).members
    cluster.log(witness).transfer_leadership(heir)
    cluster.until(lambda: cluster.status(heir).role == "leader" or cluster.status(witness).role == "leader")
    if cluster.status(witness).role == "leader":
        cluster.log(witness).transfer_leadership(heir)
        cluster.until(lambda: cluster.status(heir).role == "leader")
    cluster.network.heal()
    cluster.commit(b"with all three")
    agree_on(cluster, ["n1", "n2", "n3"])


def test_removing_is_refused_when_no_majority_would_be_left(cluster):
    leader = cluster.elect()
    silent, other = others_of(cluster, leader)
    cluster.crash(silent)
    cluster.run(2.0)
    with pytest.raises(ChangeRefused, match="no majority"):
        cluster.log(leader).remove_member(other)
    cluster.log(leader).remove_member(silent)


def test_nonsense_is_refused_by_name(cluster):
    log = cluster.log(cluster.elect())
    with pytest.raises(ChangeRefused, match="'n9' is no member; members are n1, n2, n3"):
        log.remove_member("n9")
    with pytest.raises(ChangeRefused, match="is not host:port"):
        log.add_member("n4", "nowhere")
    with pytest.raises(ChangeRefused, match="printable"):
        log.add_member("n\n4", "n4:7000")
    with pytest.raises(ChangeRefused, match="'n1' has the address 'n1:7000' already"):
        log.add_member("n4", "n1:7000")


def test_adding_a_member_again_tells_its_new_address(cluster):
    add(cluster, "n3", "elsewhere:7000")
    cluster.until(lambda: all(cluster.status(name).members["n3"] == "elsewhere:7000" for name in cluster.names))
    assert cluster.status("n1").voters == {"n1", "n2", "n3"}
    index = cluster.status(cluster.leader()).members_index
    add(cluster, "n3", "elsewhere:7000")
    assert cluster.status(cluster.leader()).members_index == index  # nothing to do


def test_after_a_change_no_election_rests_on_a_node_without_memory(cluster):
    """The node that lost its disk knows the first list only; who is in the newer one may hold what it forgot."""
    cluster.join("n4")
    add(cluster, "n4")
    agree_on(cluster, ["n1", "n2", "n3", "n4"])
    cluster.elect()
    for name in ("n3", "n4"):
        cluster.crash(name)
    cluster.lose_disk("n1")
    cluster.run(2.0)
    cluster.start("n1")
    cluster.start("n3")
    cluster.run(20.0)
    assert cluster.leader() is None  # n1 has forgotten, n2 and n3 alone are no majority of four
    cluster.start("n4")
    cluster.elect()
    cluster.commit(b"three that remember")


def test_a_single_node_grows_into_a_cluster(tmp_path):
    cluster = SimCluster(tmp_path, 1)
    cluster.elect()
    cluster.commit(b"alone")
    for name in ("n2", "n3"):
        cluster.join(name)
        add(cluster, name)
        agree_on(cluster, cluster.names)
    cluster.crash("n1")
    cluster.elect()
    cluster.commit(b"without the first")
    cluster.start("n1")
    cluster.commit(b"with it")
    assert cluster.seen("n1")[0][1] == b"alone"
    cluster.close()


def test_a_cluster_shrinks_to_a_single_node(cluster):
    last = cluster.elect()
    for name in others_of(cluster, last):
        remove(cluster, name)
        cluster.run(1.0)
        cluster.leave(name)
    cluster.commit(b"alone")
    cluster.crash(last)
    cluster.start(last)
    cluster.commit(b"still alone")


# -- a node on its own --------------------------------------------------------------------------------------


def lone(directory, peers=None):
    return LogConfig(node_id="n1", data_dir=directory, listen="127.0.0.1:0" if peers else "", peers=peers or {})


def test_a_node_without_a_port_takes_no_members(tmp_path):
    log = open_log(lone(tmp_path), Machine())
    with pytest.raises(ChangeRefused, match="has no Raft port"):
        log.add_member("n2", "n2:7000")
    log.close()


def test_a_members_data_is_not_opened_as_a_single_node(tmp_path):
    cluster = SimCluster(tmp_path)
    cluster.elect()
    cluster.commit(b"ours")
    cluster.crash("n1")
    with pytest.raises(BadLogConfig, match="belongs to a cluster with n2, n3, and this configuration names no peers"):
        open_log(lone(tmp_path / "n1"), cluster.nodes["n1"].machine)
    cluster.close()


# -- lists ---------------------------------------------------------------------------------------------------


def of(*names, voters=None):
    return Configuration("c", True, {name: Member(f"{name}:1", name in (voters or names)) for name in names})


def test_whoever_is_added_listens_first():
    after = added(of("a", "b"), "c", "c:1")
    assert after.voters == {"a", "b"}
    assert promoted(after, "c").voters == {"a", "b", "c"}
    assert not after.is_founding


def test_an_address_may_change_in_the_first_list():
    assert added(of("a", "b"), "b", "new:1").is_founding


def test_a_cluster_has_a_greatest_size():
    full = of(*(f"n{number}" for number in range(MAX_MEMBERS)))
    with pytest.raises(ChangeRefused, match=str(MAX_MEMBERS)):
        added(full, "more", "more:1")


def test_only_voters_count_for_what_is_left():
    with pytest.raises(ChangeRefused, match="only 1 of 2"):
        removed(of("a", "b", "c", "d", voters=("a", "b", "c")), "a", ["a", "b", "d"])


def test_the_last_voter_cannot_go():
    with pytest.raises(ChangeRefused, match="only 0 of 0"):
        removed(of("a"), "a", ["a"])


def test_a_list_is_read_as_it_was_written():
    agreed = Agreed(7, 3, of("a", "b"))
    assert decode_agreed(encode_agreed(agreed)) == agreed


@pytest.fixture
def opened(tmp_path):
    def open_membership():
        journal = Journal(OsFiles(), tmp_path, 1 << 10)
        return journal, Membership(OsFiles(), tmp_path, journal, founding({"a": "a:1"}))

    return open_membership


def test_the_list_in_force_is_the_last_in_the_log_and_falls_back_when_that_is_cut(opened):
    _, membership = opened()
    for index, names in ((5, "ab"), (9, "abc")):
        membership.appended(encode_command(of(*names)), index, 1)
    assert membership.current.index == 9
    assert membership.at(8).index == 5
    membership.cut(9)
    assert membership.current == Agreed(5, 1, of("a", "b"))


def test_who_may_be_back_stays_linked_until_the_removal_is_committed(opened):
    _, membership = opened()
    membership.appended(encode_command(of("a", "b", "c")), 3, 1)
    membership.appended(encode_command(of("a", "b")), 8, 2)
    assert membership.staying(7) == {"a", "b", "c"}
    assert membership.staying(8) == {"a", "b"}


def test_a_list_goes_with_the_entries_that_a_snapshot_replaces(opened):
    """Else a change that was never committed stays in force on the node that proposed it."""
    journal, membership = opened()
    for index, names in ((2, "ab"), (3, "a")):
        journal.append(encode_command(of(*names)), index, 1)
        membership.appended(encode_command(of(*names)), index, 1)
    journal.sync()
    membership.install(Agreed(2, 1, of("a", "b")))
    assert membership.current.index == 3
    journal.reset(5, 2)
    membership.follow(journal)
    assert membership.current == Agreed(2, 1, of("a", "b"))


def test_the_list_outlives_the_entry_it_stood_in(opened):
    journal, membership = opened()
    journal.append(encode_command(of("a", "b")), 2, 1)
    membership.appended(encode_command(of("a", "b")), 2, 1)
    journal.append(b"\x00x", 3, 1)
    journal.sync()
    membership.keep(3)
    journal.compact(3)
    journal.close()
    _, again = opened()
    assert again.current == Agreed(2, 1, of("a", "b"))


def test_a_damaged_list_is_refused(opened, tmp_path):
    journal, membership = opened()
    membership.install(Agreed(2, 1, of("a", "b")))
    journal.close()
    kept = tmp_path / "members"
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    with pytest.raises(JournalCorrupt, match="members"):
        opened()
