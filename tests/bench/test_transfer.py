"""Watching a snapshot by the files of both sides."""

import pytest

from bench.processes import BenchFailed
from bench.transfer import Silence, Transfer
from tests.support.processes import wait_for


class Node:
    running = True

    def tail(self):
        return "its last words"


class Status:
    first_index = 1
    ready = False
    age_ms = 0


class Nodes:
    """As much of a cluster as is looked at."""

    def __init__(self, directory):
        self.directory = directory
        self.workers = {"a": Node(), "b": Node()}
        self.state = Status()

    def status(self, _name):
        return self.state


@pytest.fixture
def nodes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "raft").mkdir(parents=True)
    return Nodes(tmp_path)


def test_a_copy_counts_once_it_is_described_and_what_arrived_by_its_length(nodes):
    transfer = Transfer(nodes, "a", "b")
    outgoing = nodes.directory / "a" / "raft" / "outgoing"
    outgoing.mkdir()
    (outgoing / "copy.sqlite3").write_bytes(bytes(100))
    assert (transfer.size, transfer.arrived) == (0, 0)
    (outgoing / "description").write_bytes(b"x")
    (nodes.directory / "b" / "raft" / "incoming").write_bytes(bytes(40))
    assert (transfer.size, transfer.arrived) == (100, 40)
    transfer.until_copied()
    transfer.until_part(0.3)
    assert list(transfer.times) == ["copying_s", "copied_s", "part_s"]


def test_a_node_is_filled_when_nothing_is_arriving_any_more_and_it_is_at_work(nodes):
    transfer = Transfer(nodes, "a", "b")
    nodes.state.first_index, nodes.state.ready = 50, True
    transfer.until_ready()
    assert transfer.times["installed_s"] <= transfer.times["ready_s"]


def test_a_worker_that_ends_meanwhile_is_told(nodes):
    nodes.workers["b"].running = False
    with pytest.raises(BenchFailed, match="its last words"):
        Transfer(nodes, "a", "b").until_copied()


def test_the_longest_silence_is_kept_while_it_is_watched(nodes):
    with Silence(nodes) as silence:
        silence.watch("b")
        nodes.state.age_ms = 700
        wait_for(lambda: silence.longest_s == 0.7, "the silence to be seen")
        nodes.state.age_ms = 10
        silence.watch()
    assert silence.longest_s == 0.7
