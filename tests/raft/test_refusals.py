"""Members that are authentic and yet do not belong together: each hears why, in its own words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from chronos_worker.raft import BadLogConfig
from chronos_worker.raft.refusals import TOLD_S, Refusals
from tests.raft.loopback import Loopback
from tests.sim.network import VirtualClock
from tests.support.processes import free_port


@pytest.fixture
def cluster(tmp_path):
    running = Loopback(tmp_path)
    yield running
    running.close()


@pytest.fixture
def working(cluster):
    cluster.start()
    cluster.commit(b"before")
    return cluster


def test_a_second_node_with_one_id_stays_out_and_both_sides_say_so(working):
    twin = working.config("n2", listen=f"127.0.0.1:{free_port()}", directory="twin")
    before = working.footprint("n1")
    working.start(twin, as_name="twin")
    working.until(lambda: working.refused("n1", "duplicate_node_id"), "n1 to refuse it")
    words = "another node with the id 'n2' is connected already"
    assert working.told("n1", words)
    assert working.told("twin", f"n1 refuses us: {words}")
    assert working.refused("twin", "refused_by_peer") >= 1
    assert working.footprint("n1") == before
    working.logs.pop("twin").close()
    working.commit(b"undisturbed")


def test_a_node_that_comes_back_takes_its_place_though_its_old_link_looks_alive(working):
    """Killed without a word, it is another instance of the same id, and its silence lets it in."""
    instance = working.logs.pop("n2")
    instance.close()
    working.machines["n2"].crash()
    working.start(working.config("n2"))
    working.commit(b"back")


def test_an_address_that_leads_to_the_node_itself_is_told(cluster):
    own = cluster.members["n2"]
    cluster.start(cluster.config("n2", members=cluster.members | {"n1": own.replace("127.0.0.1", "localhost")}))
    cluster.until(lambda: cluster.refused("n2", "wrong_node"), "n2 to notice")
    assert cluster.told("n2", "'n2' calls itself: the address it has for a peer is its own")


def test_an_address_at_which_another_member_answers_is_told(cluster):
    swapped = cluster.members | {"n1": cluster.members["n2"], "n2": cluster.members["n1"]}
    cluster.start(cluster.config("n1"), cluster.config("n2"), cluster.config("n3", members=swapped))
    cluster.until(lambda: cluster.refused("n3", "wrong_node") >= 2, "n3 to notice")
    assert cluster.told("n3", "'n2' answers at the address of 'n1'")
    assert cluster.told("n3", "'n1' answers at the address of 'n2'")


def test_an_address_taken_by_another_node_is_refused_at_the_start(cluster):
    cluster.start(cluster.config("n1"))
    with pytest.raises(BadLogConfig, match=r"cannot be bound: .*\(in use by another process\)"):
        cluster.start(replace(cluster.config("n2"), listen=cluster.members["n1"], advertised="n2:7600"))


def test_two_members_of_one_address_in_a_file_are_refused(cluster):
    with pytest.raises(BadLogConfig, match="nodes 'n1' and 'n2' share the address"):
        cluster.start(cluster.config("n1", members=cluster.members | {"n2": cluster.members["n1"]}))


def test_files_that_name_different_members_found_no_cluster(cluster):
    cluster.start(
        cluster.config("n1"),
        cluster.config("n2"),
        cluster.config("n3", members=cluster.members | {"n4": f"127.0.0.1:{free_port()}"}),
    )
    cluster.until(lambda: cluster.refused("n1", "members_differ"), "n1 to refuse it")
    words = "'n3' has another list of members than 'n1'"
    assert cluster.told("n1", words)
    assert cluster.told("n3", f"n1 refuses us: {words}")
    assert {cluster.status(name).leader_id for name in cluster.logs} == {None}
    cluster.stop("n3")
    cluster.start(cluster.config("n3", directory="n3 again"))
    cluster.commit(b"once the file is right")


def test_a_node_nobody_named_stays_out(working):
    address = f"127.0.0.1:{free_port()}"
    working.start(working.config("n9", members=working.members | {"n9": address}))
    working.until(lambda: working.refused("n1", "unknown_node"), "n1 to refuse it")
    words = "'n9' is not among our members ['n1', 'n2', 'n3']"
    assert working.told("n1", words)
    assert working.told("n9", f"n1 refuses us: {words}")


def test_a_founded_cluster_goes_on_whatever_a_file_says_later(working):
    """The list is in the log by now; what a file names only helps to find the others."""
    working.stop("n3")
    working.start(working.config("n3", members=working.members | {"n4": f"127.0.0.1:{free_port()}"}))
    working.commit(b"all the same")
    assert working.status("n3").members.keys() == {"n1", "n2", "n3"}


def test_a_node_with_the_data_of_another_cluster_finds_nobody_who_speaks_with_it(working, tmp_path):
    other = Loopback(tmp_path / "other")
    other.start()
    other.commit(b"elsewhere")
    foreign, ours = other.status("n3").cluster_id, working.status("n1").cluster_id
    other.close()
    working.stop("n3")
    before = working.footprint("n1")
    working.machines["n3"] = other.machines["n3"]
    working.start(working.config("n3", directory="other/n3"))
    working.until(lambda: working.refused("n1", "other_cluster"), "n1 to refuse it")
    words = f"'n3' is of cluster {foreign!r}, we of {ours!r}"
    assert working.told("n1", words)
    assert working.told("n3", f"n1 refuses us: {words}")
    assert working.footprint("n1")[2:] == before[2:]


def test_a_member_that_lost_its_data_is_filled_again(working):
    working.stop("n3")
    del working.machines["n3"]
    working.start(working.config("n3", directory="a new disk"))
    working.until(lambda: working.status("n3").is_caught_up, "n3 to catch up")
    assert [data for _, data in working.machines["n3"].entries] == [b"before"]
    working.commit(b"after")


def test_a_problem_is_told_until_it_is_settled(working):
    working.stop("n3")
    working.start(working.config("n3", members=working.members | {"n1": working.members["n2"], "n2": "127.0.0.1:1"}))
    working.until(lambda: working.told("n3", "answers at the address of 'n1'"), "the problem")
    working.stop("n3")
    working.start(working.config("n3"))
    working.commit(b"settled")
    assert [working.status(name).problems for name in working.logs] == [{}, {}, {}]


def test_a_problem_that_does_not_come_back_is_no_longer_told_but_stays_counted():
    clock = VirtualClock()
    refusals = Refusals(clock, 5)
    refusals.note("oversized", "10.0.0.1", "too much")
    clock.now += TOLD_S
    assert refusals.problems() == {"10.0.0.1": "too much"}
    clock.now += 1
    assert refusals.problems() == {}
    assert refusals.counts() == {"oversized": 1}


def test_a_stranger_cannot_fill_the_log_and_news_of_a_member_are_logged():
    refusals = Refusals(VirtualClock(), 5)
    refusals.configure(["n1"])
    with structlog.testing.capture_logs() as lines:
        for number in range(100):
            refusals.note("oversized", "10.0.0.1", f"a frame of {number} bytes")
            refusals.note("members_differ", "n1", f"another list since {number // 50}")
    assert [line["peer"] for line in lines] == ["10.0.0.1", "n1", "n1"]


def test_strangers_that_are_told_of_are_bounded_and_members_always_have_a_place():
    refusals = Refusals(VirtualClock(), 5)
    refusals.configure(["n1", "n2"])
    for number in range(1_000):
        refusals.note("not_authentic", f"10.0.{number // 250}.{number % 250}", "no")
    refusals.note("members_differ", "n2", "another list")
    assert len(refusals.problems()) <= 5 + 2 + 1
    assert refusals.problems()["n2"] == "another list"
    assert refusals.counts() == {"not_authentic": 1_000, "members_differ": 1}
