"""Restoring a backup, command by command: what is taken, what is refused, and what the rows are in the end."""

import contextlib
import sqlite3

import msgspec
import pytest

from chronos_common import ids
from chronos_common.backups import (
    CHAIN_START,
    MAX_PIECE_BYTES,
    MAX_PIECES,
    RESTORED_TABLES,
    chain,
    encode_row,
    join_batch,
)
from chronos_common.commands import (
    AbortRestore,
    BeginRestore,
    Claim,
    ClientRequest,
    CreateJob,
    DeleteJob,
    EndRestore,
    Move,
    MoveDue,
    Prune,
    RestoreRows,
    TriggerJob,
)
from chronos_common.models import AttemptStatus, ConcurrencyPolicy, ExecutionStatus, HttpTarget, JobSpec
from chronos_common.protocol import RestoreState
from chronos_worker.state_machine.effects import Assigned, Planned, RestoreEnded
from chronos_worker.state_machine.machine import StateMachine
from chronos_worker.state_machine.restoring import CLEARED_PER_STEP
from cli.chronosctl.backup_file import pieces
from tests.state_machine.conftest import ME, MINUTE, Ledger, retrying

NAME = "ab" * 32
BEGIN = BeginRestore(NAME, "0001", 40, 500_000)
AT = 900_000


@pytest.fixture
def source(tmp_path):
    """A ledger with something of everything."""
    source = Ledger(tmp_path / "source.sqlite3")
    source.announce(ME)
    done = source.create("done", tags={"team": "ops"}, retry_policy=retrying(2), concurrency=ConcurrencyPolicy.ALLOW)
    source.fire(done, MINUTE)
    source.record(1, 1, AttemptStatus.FAILED, retry_at=MINUTE + 1)
    running = source.create("running")
    source.fire(running, MINUTE)
    source.request(TriggerJob(done.id, {"x": 1}, has_payload=True, execution_id=source.new_id()), key="a-key")
    yield source
    source.database.close()


@pytest.fixture
def target(tmp_path):
    target = Ledger(tmp_path / "target.sqlite3")
    target.announce(ME)
    yield target
    target.database.close()


def sent(source, tmp_path):
    path = tmp_path / "backup"
    source.database.copy_to(path)
    return list(pieces(path))


def restore(target, found, *, at=AT):
    """Everything but the end; the end's command."""
    assert target.request(BEGIN, at=at).answer.state == "open"
    running, rows = CHAIN_START, {}
    for piece in found:
        answer = target.request(RestoreRows(NAME, piece.number, piece.data, piece.more), at=at).answer
        assert isinstance(answer, RestoreState), answer
        running = chain(running, piece.data)
        if piece.rows:
            rows[piece.table] = rows.get(piece.table, 0) + piece.rows
    return EndRestore(NAME, rows, running)


def table_of(ledger, table):
    with contextlib.closing(sqlite3.connect(ledger.database.path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def everything(ledger):
    """All rows, but for the index they are at."""
    found = {table: table_of(ledger, table) for table in (*RESTORED_TABLES, "nodes", "meta")}
    return found | {"meta": [row for row in found["meta"] if row[0] != "applied_index"]}


def batch(table, columns, *rows):
    return join_batch(table, columns, [encode_row(row) for row in rows])


def test_a_restored_cluster_holds_the_jobs_and_the_ledger_of_the_backup(source, target, tmp_path):
    end = restore(target, sent(source, tmp_path))
    assert target.request(end, at=AT).answer.state == "done"
    for table in ("jobs", "job_tags", "job_versions"):
        assert table_of(target, table) == table_of(source, table) != []
    before, after = source.executions(), target.executions()
    assert [execution.id for execution in after] == [execution.id for execution in before]
    assert target.job(target.jobs()[0].id) == source.job(target.jobs()[0].id)
    assert target.counts().retries == source.counts().retries == 1


def test_what_ran_when_the_backup_was_taken_is_lost_and_due_again_under_its_id(source, target, tmp_path):
    (ran,) = [execution for execution in source.executions() if execution.status is ExecutionStatus.RUNNING]
    target.request(restore(target, sent(source, tmp_path)), at=AT)
    (again,) = [execution for execution in target.executions() if execution.id == ran.id]
    assert (again.status, again.lost_count, again.due_at) == (ExecutionStatus.PENDING, 1, AT)
    attempts = [(number, status) for seq, number, status, *_ in table_of(target, "attempts") if seq == 2]
    assert attempts == [(1, AttemptStatus.LOST)]
    assert not +target.machine.running
    assert target.machine.held() == []


def test_nodes_and_name_are_the_new_clusters_own(source, target, tmp_path):
    source.announce(Claim("elsewhere", 7))
    target.request(restore(target, sent(source, tmp_path)), at=AT)
    with target.database.read() as connection:
        assert [row[0] for row in connection.exec_driver_sql("SELECT node_id FROM nodes").all()] == ["n1"]


def test_a_key_used_before_the_backup_gets_its_first_answer_after_the_restore(source, target, tmp_path):
    target.request(restore(target, sent(source, tmp_path)), at=AT)
    job = target.jobs()[0]
    again = target.request(TriggerJob(job.id, {"x": 1}, has_payload=True, execution_id=target.new_id()), key="a-key")
    assert again.repeated
    assert again.index <= target.index
    assert len(target.executions()) == len(source.executions())


def test_numbers_go_on_behind_those_of_the_backup(source, target, tmp_path):
    target.request(restore(target, sent(source, tmp_path)), at=AT)
    job = target.create("new")
    assert target.seq_of(job) == 3
    target.request(TriggerJob(job.id, execution_id=target.new_id()))
    assert len(table_of(target, "executions")) == len(table_of(source, "executions")) + 1


def test_until_the_end_nothing_fires_and_nothing_else_is_changed(source, target, tmp_path):
    found = sent(source, tmp_path)
    end = restore(target, found)
    assert target.machine.restoring
    rows = table_of(target, "executions")
    spec = JobSpec(name="other", target=HttpTarget(url="http://t/"))
    refused = target.request(CreateJob(spec, "00000000-0000-7000-8000-00000000000f", None), key="later").answer
    assert refused.code == "restoring"
    job = target.jobs()[0]
    effects = target.fire(job, 2 * MINUTE)
    assert [type(effect) for effect in effects] == [Planned]
    waiting = next(execution for execution in target.executions() if execution.status is ExecutionStatus.PENDING)
    seq = next(row[0] for row in rows if row[1] == ids.from_text(waiting.id))
    assert target.apply(MoveDue((Move(seq, waiting.due_at, waiting.due_at + 5),))) == [Planned(None)]
    assert target.apply(Prune(tuple(range(10)))) == []
    assert table_of(target, "executions") == rows
    assert target.request(end, at=AT).answer.state == "done"
    assert not target.machine.restoring
    assert target.request(CreateJob(spec, "00000000-0000-7000-8000-00000000000f", None), key="later").answer.created
    assert any(isinstance(effect, Assigned) for effect in target.fire(job, job.next_fire_time))


def test_every_step_may_be_repeated(source, target, tmp_path):
    found = sent(source, tmp_path)
    end = restore(target, found)
    first = found[0]
    repeated = target.request(RestoreRows(NAME, first.number, first.data), at=AT).answer
    assert repeated == target.request(BEGIN, at=AT + 5).answer
    assert repeated.pieces == len(found)
    assert target.request(end, at=AT).answer.state == "done"
    rows = table_of(target, "executions")
    assert target.request(end, at=AT + 5).answer == RestoreState("done", NAME)
    assert target.request(BEGIN, at=AT + 5).answer == RestoreState("done", NAME)
    assert table_of(target, "executions") == rows


def test_a_cluster_that_was_restored_and_emptied_since_takes_the_same_backup_again(source, target, tmp_path):
    found = sent(source, tmp_path)
    target.request(restore(target, found), at=AT)
    for job in target.jobs():
        target.request(DeleteJob(job.id), at=AT)
    seqs = tuple(row[0] for row in table_of(target, "executions"))
    target.apply(Prune(seqs), Prune(job_seqs=tuple(row[0] for row in table_of(target, "jobs"))))
    assert table_of(target, "jobs") == []
    assert target.request(restore(target, found), at=AT).answer.state == "done"
    assert len(target.executions()) == len(source.executions())


def test_a_restore_outlives_a_restart_in_the_middle(source, target, tmp_path):
    found = sent(source, tmp_path)
    end = restore(target, found)
    target.machine = StateMachine(target.database)
    target.machine.me = ME
    assert target.machine.restoring
    assert target.request(end, at=AT).answer.state == "done"


def test_pieces_out_of_order_or_of_another_backup_are_refused(target):
    data = batch("counters", ("name", "value"), ("a", 1))
    assert "begin one" in target.request(RestoreRows(NAME, 1, data)).answer.message
    target.request(BEGIN)
    assert "piece 1 comes next" in target.request(RestoreRows(NAME, 2, data)).answer.message
    assert target.request(RestoreRows("cd" * 32, 1, data)).answer.code == "conflict"
    other = target.request(msgspec.structs.replace(BEGIN, backup="cd" * 32)).answer
    assert "is under way; abort it first" in other.message
    assert target.request(EndRestore("cd" * 32, {}, b"")).answer.code == "conflict"


def test_a_cluster_that_holds_anything_is_refused_with_what_would_be_accepted(source):
    answer = source.request(BEGIN).answer
    assert answer.code == "conflict"
    assert "2 jobs and 3 executions" in answer.message
    assert "no job was ever made" in answer.message
    assert not source.machine.restoring


def test_a_large_row_comes_in_several_pieces(target):
    target.request(BEGIN)
    whole = batch("counters", ("name", "value"), ("a", 1), ("b", 2))
    cuts = [whole[:5], whole[5:9], whole[9:]]
    for number, cut in enumerate(cuts, 1):
        answer = target.request(RestoreRows(NAME, number, cut, more=number < 3)).answer
        assert (answer.pieces, answer.rows) == (number, 2 if number == 3 else 0)
    digest = chain(chain(chain(CHAIN_START, cuts[0]), cuts[1]), cuts[2])
    assert target.request(EndRestore(NAME, {"counters": 2}, digest)).answer.state == "done"
    assert dict(table_of(target, "counters")) == {"a": 1, "b": 2}


def test_a_job_too_large_for_one_piece_is_cut_and_comes_back_whole(source, target, tmp_path):
    large = source.create("large", description="x" * (MAX_PIECE_BYTES + 1_000))
    found = sent(source, tmp_path)
    assert any(piece.more for piece in found)
    assert all(len(piece.data) <= MAX_PIECE_BYTES for piece in found)
    assert target.request(restore(target, found), at=AT).answer.state == "done"
    assert target.job(large.id) == large


def test_a_batch_of_too_many_pieces_is_refused(target):
    target.request(BEGIN)
    for number in range(1, MAX_PIECES):
        assert isinstance(target.request(RestoreRows(NAME, number, b"x", more=True)).answer, RestoreState)
    refused = target.request(RestoreRows(NAME, MAX_PIECES, b"x", more=True)).answer
    assert f"after {MAX_PIECES} pieces" in refused.message


JOB = ("seq", "id", "namespace", "name", "version", "enabled", "concurrency", "max_attempts", "timezone", "misfire",
       "spec", "created_at", "updated_at")  # fmt: skip
GOOD = (1, b"i" * 16, "default", "a", 1, 1, "allow", 1, "UTC", b"\x80",
        msgspec.msgpack.encode(JobSpec("a", HttpTarget("http://t/"))), 1, 1)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xc1", "cannot be restored"),
        (batch("nodes", ("node_id",), ("x",)), "'nodes' is no table that is restored"),
        (batch("jobs; DROP TABLE jobs", ("a",), (1,)), "is no table that is restored"),
        (batch("counters", ("name", "value", "size"), ("a", 1, 1)), "counters has no column 'size'"),
        (batch("counters", ("name",), ("a",)), "counters lacks the column value"),
        (batch("counters", ("name", "value", "value"), ("a", 1, 1)), "is given twice"),
        (batch("counters", ("name", "value"), ("a",)), "has 1 values for 2 columns"),
        (batch("counters", ("name", "value"), ("a", None)), "counters.value is empty"),
        (batch("counters", ("name", "value"), ("a", "1")), "counters.value is '1', not int"),
        (batch("job_tags", ("key", "value", "job_seq"), ("a", "b", 1 << 63)), "cannot be restored"),
        (batch("job_tags", ("key", "value", "job_seq"), ("a", "b", 1), ("a", "b", 1)), "UNIQUE"),
        (batch("jobs", JOB, (*GOOD[:1], b"short", *GOOD[2:])), "jobs.id holds"),
        (batch("jobs", JOB, (*GOOD[:6], "never", *GOOD[7:])), "jobs.concurrency holds"),
        (batch("jobs", JOB, (*GOOD[:10], b"\x80", *GOOD[11:])), "jobs.spec holds what this version cannot read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_that_are_none_of_ours_are_refused_and_leave_nothing(target, data, words):
    target.request(BEGIN)
    before = everything(target)
    answer = target.request(RestoreRows(NAME, 1, data)).answer
    assert answer.code == "invalid_request"
    assert words in answer.message
    assert everything(target) == before


def test_the_rows_that_show_what_is_refused_are_else_good(target):
    target.request(BEGIN)
    assert target.request(RestoreRows(NAME, 1, batch("jobs", JOB, GOOD))).answer.rows == 1


@pytest.mark.parametrize("wrong", [{"rows": {"jobs": 7}}, {"chain": b"other"}])
def test_an_end_that_does_not_match_takes_the_restore_back(source, target, tmp_path, wrong):
    end = restore(target, sent(source, tmp_path))
    answer = target.request(msgspec.structs.replace(end, **wrong), at=AT).answer
    assert answer.code == "conflict"
    assert "is taken back" in answer.message
    assert "is being taken back" in target.request(BEGIN).answer.message
    assert target.request(end, at=AT).answer.code == "conflict"
    assert target.request(AbortRestore()).answer.state == "none"
    assert target.jobs() == target.executions() == []


def test_an_aborted_restore_leaves_the_cluster_as_empty_as_it_was_and_can_be_begun_anew(source, target, tmp_path):
    found = sent(source, tmp_path)
    tables = ("jobs", "job_tags", "job_versions", "executions", "attempts", "counters")
    assert target.request(AbortRestore()).answer == RestoreState("none")
    restore(target, found)
    assert target.request(AbortRestore()).answer == RestoreState("none")
    assert {table: table_of(target, table) for table in tables} == {table: [] for table in tables}
    assert not target.machine.restoring
    assert target.request(restore(target, found), at=AT).answer.state == "done"
    assert len(target.executions()) == len(source.executions())


def test_aborting_a_large_restore_takes_bounded_steps(target):
    target.request(BEGIN)
    columns = ("key", "value", "job_seq")
    rows = [("k", "v", number) for number in range(CLEARED_PER_STEP + 5)]
    target.request(RestoreRows(NAME, 1, batch("job_tags", columns, *rows)))
    answer = target.request(AbortRestore()).answer
    assert answer.state == "clearing"
    assert len(table_of(target, "job_tags")) == 5
    assert "is being taken back" in target.request(BEGIN).answer.message
    assert target.request(AbortRestore()).answer.state == "none"
    assert table_of(target, "job_tags") == []


def request(change):
    return ClientRequest("step", b"f", "tester", AT, change)


def test_the_end_wakes_the_planner_and_no_step_assigns_work_to_this_life(source, target, tmp_path):
    found = sent(source, tmp_path)
    effects = target.apply(request(BEGIN))
    for piece in found:
        effects += target.apply(request(RestoreRows(NAME, piece.number, piece.data, piece.more)))
    effects += target.apply(request(restore(target, found)))
    assert RestoreEnded() in effects
    assert not any(isinstance(effect, Assigned) for effect in effects)
    assert target.machine.held() == []


def test_replicas_that_apply_the_same_restore_hold_the_same_rows_whoever_they_are(source, target, tmp_path):
    found = sent(source, tmp_path)
    other = Ledger(tmp_path / "other.sqlite3")
    other.machine.me = None
    other.announce(ME)
    for ledger in (target, other):
        ledger.request(restore(ledger, found), at=AT)
    assert everything(target) == everything(other)
    assert target.index == other.index
    other.database.close()
