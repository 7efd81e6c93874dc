"""Mixed versions: nobody proposes what somebody cannot read, and nobody opens what a newer version wrote."""

import sqlite3
import typing
from contextlib import closing

import msgspec
import pytest

from chronos_common import VERSION
from chronos_common.commands import (
    FIRST_LEVEL,
    READS,
    AnnounceNode,
    Barrier,
    Change,
    ClientRequest,
    Command,
    CreateJob,
    RaiseLevel,
    TriggerJob,
    UnknownCommand,
    decode_entry,
    encode_entry,
    level_of,
)
from chronos_common.models import HttpTarget, JobSpec, NodeInfo, NodeState
from chronos_common.protocol import Proposal, Rejected
from chronos_worker.__main__ import DATA_DIRECTORY
from chronos_worker.data_dir import DataDir
from chronos_worker.levels import PATIENCE_S, Raising, needs_upgrade
from chronos_worker.state_machine.machine import Entry, StateMachine
from chronos_worker.store.database import Database
from chronos_worker.store.revision import NewerData
from chronos_worker.store.snapshots import Snapshots
from tests.sim.world import World
from tests.support.processes import Process, write_config

NEXT = READS + 1


class NewKindOfTrigger(TriggerJob, frozen=True, tag="trigger_job"):
    """What a later version may bring."""

    level = NEXT


def node(name, reads=READS, incarnation=1, version="0.1.0"):
    return NodeInfo(name, incarnation, NodeState.LIVE, f"http://{name}", 5, version, 0, reads)


# -- the rule ---------------------------------------------------------------------------------------------


def test_every_command_of_the_first_release_is_of_the_first_level():
    kinds = {*typing.get_args(Command), *typing.get_args(Change)}
    assert len(kinds) >= 17
    assert {kind.level for kind in kinds} == {FIRST_LEVEL}
    assert READS == FIRST_LEVEL


def test_a_request_has_the_level_of_what_it_asks_for():
    assert level_of(ClientRequest("k", b"f", "me", 1, NewKindOfTrigger("x"))) == NEXT
    assert level_of(ClientRequest("k", b"f", "me", 1, TriggerJob("x"))) == FIRST_LEVEL


@pytest.mark.parametrize(
    "entry",
    [
        [{"type": "barrier", "token": "t", "urgency": 3}],
        [{"type": "forget_node", "node_id": "n1", "motto": "m"}],
        [{"type": "record", "claim": ["n1", 1, "more"], "items": []}],
        [{"type": "request", "command_id": "k", "fingerprint": b"f", "principal": "p", "at": 1,
          "change": {"type": "create_job", "spec": {"name": "j", "target": {"type": "http", "url": "u"}, "x": 1}}}],
    ],
)  # fmt: skip
def test_a_field_this_build_does_not_know_stops_the_node_and_is_not_passed_over(entry):
    with pytest.raises(UnknownCommand, match=r"unknown field|at most length"):
        decode_entry(b"\x01" + msgspec.msgpack.encode(entry))


def test_the_leader_raises_the_level_once_every_member_reads_more():
    raising, members = Raising(), ("a", "b", "c")
    nodes = [node("a", 3), node("b", 2)]
    assert raising.plan(1, members, nodes, 0.0) == []  # c has announced nothing
    assert raising.plan(1, members, [*nodes, node("c", 1)], 1.0) == []
    nodes.append(node("c", 4))
    assert raising.plan(1, members, nodes, 2.0) == [RaiseLevel(2, members)]
    assert raising.plan(1, members, nodes, 2.1) == []
    assert raising.plan(1, members, nodes, 2.0 + PATIENCE_S) == [RaiseLevel(2, members)]
    assert raising.plan(2, members, nodes, 99.0) == []


def test_who_holds_the_cluster_back_is_named():
    text = needs_upgrade(2, 1, ("a", "b", "c"), [node("a", 2), node("b", 1, version="0.1.0")])
    assert "needs command level 2 and the cluster is at 1" in text
    assert "b runs 0.1.0, which reads up to 1; c has not been heard of yet" in text


# -- applied ----------------------------------------------------------------------------------------------


class Rows:
    def __init__(self, path, reads):
        self.database = Database(path, reads)
        self.machine = StateMachine(self.database, reads)

    def apply(self, *commands):
        return self.machine.apply([Entry(self.machine.applied_index + 1, 1, encode_entry(list(commands)))])


@pytest.fixture
def rows(tmp_path):
    rows = Rows(tmp_path / "chronos.sqlite3", NEXT)
    yield rows
    rows.database.close()


def test_the_level_rises_when_all_members_announced_it_and_never_falls(rows):
    rows.apply(AnnounceNode(1, node("a", NEXT)), AnnounceNode(1, node("b", NEXT)))
    rows.apply(RaiseLevel(NEXT, ("a", "b", "c")))  # c has announced nothing
    assert rows.machine.level == FIRST_LEVEL
    rows.apply(AnnounceNode(1, node("c", READS)))
    rows.apply(RaiseLevel(NEXT, ("a", "b", "c")))
    assert rows.machine.level == FIRST_LEVEL
    rows.apply(AnnounceNode(1, node("c", NEXT, incarnation=2)))
    rows.apply(RaiseLevel(NEXT, ("a", "b", "c")))
    assert rows.machine.level == NEXT
    rows.apply(RaiseLevel(READS, ("a", "b", "c")))
    rows.apply(AnnounceNode(1, node("c", READS, incarnation=3)))
    assert rows.machine.level == NEXT
    rows.machine.reload()
    assert rows.machine.level == NEXT


def test_a_node_that_is_no_member_holds_nothing_back(rows):
    rows.apply(AnnounceNode(1, node("a", NEXT)), AnnounceNode(1, node("replaced", READS)))
    rows.apply(RaiseLevel(NEXT, ("a",)))
    assert rows.machine.level == NEXT


def test_an_old_build_stops_at_the_raise_and_has_applied_nothing_of_it(tmp_path):
    old = Rows(tmp_path / "chronos.sqlite3", READS)
    old.apply(AnnounceNode(1, node("a", NEXT)))
    with pytest.raises(UnknownCommand, match=f"command level {NEXT}, and this is Chronos {VERSION}"):
        old.apply(RaiseLevel(NEXT, ("a",)), Barrier("x"))
    assert (old.machine.level, old.machine.applied_index) == (FIRST_LEVEL, 1)
    old.database.close()


# -- opened -----------------------------------------------------------------------------------------------


def raised(path):
    rows = Rows(path, NEXT)
    rows.apply(AnnounceNode(1, node("a", NEXT)))
    rows.apply(RaiseLevel(NEXT, ("a",)))
    return rows


def test_an_old_build_refuses_the_rows_of_a_newer_one(tmp_path):
    raised(tmp_path / "chronos.sqlite3").database.close()
    with pytest.raises(NewerData, match=f"command level {NEXT}, this version reads up to {READS}"):
        Database(tmp_path / "chronos.sqlite3")
    Database(tmp_path / "chronos.sqlite3", NEXT).close()


def test_an_old_build_refuses_the_snapshot_of_a_newer_one_and_keeps_what_it_has(tmp_path):
    newer = raised(tmp_path / "newer.sqlite3")
    index, term = newer.database.copy_to(tmp_path / "snapshot")
    newer.database.close()
    mine = Database(tmp_path / "mine.sqlite3")
    with pytest.raises(NewerData):
        Snapshots(mine).install(tmp_path / "snapshot", index, term)
    assert mine.applied() == (0, 0)
    mine.close()


def refused(directory, config):
    process = Process("chronos_worker", config, directory / "log")
    try:
        assert process.popen.wait(timeout=30) == DATA_DIRECTORY
        return process.output()
    finally:
        process.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (f"UPDATE meta SET value = {NEXT} WHERE key = 'level'", f"command level {NEXT}"),
        ("UPDATE alembic_version SET version_num = '9999'", "schema 9999"),
    ],
)
def test_a_downgraded_worker_refuses_its_directory_and_names_both_versions(tmp_path, change, reason):
    config = write_config(tmp_path)
    data = DataDir(tmp_path / "node-1", "node-1")
    data.used_by("9.8.7")
    data.close()
    Database(tmp_path / "node-1" / "chronos.sqlite3").close()
    with closing(sqlite3.connect(tmp_path / "node-1" / "chronos.sqlite3")) as database, database:
        database.execute(change)
    output = refused(tmp_path, config)
    assert f"last used by Chronos 9.8.7, and this is Chronos {VERSION}" in output
    assert reason in output
    assert "Traceback" not in output
    assert (tmp_path / "node-1" / "version").read_text() == "9.8.7"


def test_the_version_that_works_in_a_directory_is_kept_there(tmp_path):
    data = DataDir(tmp_path / "d", "n1")
    assert data.version == ""
    data.used_by("0.1.0")
    data.used_by("0.2.0")
    data.close()
    data = DataDir(tmp_path / "d", "n1")
    assert data.version == "0.2.0"
    data.close()


# -- whole nodes ------------------------------------------------------------------------------------------


class Mixed(World):
    """A cluster whose nodes run one version or another."""

    def __init__(self, directory, builds):
        self.builds = builds
        super().__init__(directory, 1, len(builds), haunting=0.0, delay_s=(0.001, 0.002))

    def reads(self, name):
        return self.builds[name]

    def run_until(self, condition, what, seconds=30.0):
        until = self.clock.now + seconds
        while not condition():
            assert self.clock.now < until, what
            self.step(0.02)

    def views(self):
        return [machine.process.node.view for machine in self.nodes.values() if machine.process]

    def settle(self):
        self.run_until(
            lambda: len(self.views()) == len(self.names) and all(v.ready and len(v.nodes) == 3 for v in self.views()),
            "everybody works",
        )

    def upgrade(self, name):
        self.crash(name, power_cut=False)
        self.builds[name] = NEXT
        self.start(name)
        self.settle()

    def ask(self, change, key):
        """The answer of the leader."""
        slip = None

        def answered():
            nonlocal slip
            leader = self.leader()
            if leader is None:
                return False
            if slip is None or (slip.reply is not None and not hasattr(slip.reply, "answer")):
                slip = super(Mixed, self).ask(leader.name, Proposal(key, b"f", "me", change))
            return hasattr(slip.reply, "answer")

        self.run_until(answered, "an answer")
        return slip.reply.answer


def test_a_feature_waits_for_the_last_member_and_works_once_it_is_upgraded(tmp_path):
    world = Mixed(tmp_path / "world", dict.fromkeys(("n1", "n2", "n3"), READS))
    job = world.ask(CreateJob(JobSpec("job", HttpTarget("http://quick.example/"))), "create").job
    for name in ("n1", "n2"):
        world.upgrade(name)
        answer = world.ask(NewKindOfTrigger(job.id), f"trigger before all {name}")
        assert isinstance(answer, Rejected)
        assert answer.code == "needs_upgrade"
        assert "n3 runs" in answer.message
    assert {view.level for view in world.views()} == {FIRST_LEVEL}
    world.upgrade("n3")
    world.run_until(lambda: {view.level for view in world.views()} == {NEXT}, "the level rises")
    assert world.ask(NewKindOfTrigger(job.id), "trigger after").execution.job_id == job.id
    world.close()
