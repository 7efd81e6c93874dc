"""Backups on their way out: one at a time, none for longer than it is read, none that fills the disk."""

import sqlite3
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from chronos_common.backups import END_BYTES, HEAD_BYTES, MAX_DESCRIPTION_BYTES, read_description
from chronos_common.clock import SystemClock
from chronos_common.commands import Barrier, encode_entry
from chronos_common.protocol import BackupReady, BackupUnderWay, Rejected
from chronos_worker.backups import PART_BYTES, RESERVE_BYTES, Backups
from chronos_worker.state_machine.machine import Entry, StateMachine
from chronos_worker.store.backup_copy import CopyFailed, write_backup
from chronos_worker.store.database import Database, sha256_of
from tests.support.processes import wait_for

PLENTY = 1 << 40


class FullDisk(Database):
    """A replica whose copies run out of space in the middle."""

    def copy_to(self, target, **_):
        target.write_bytes(b"half a copy")
        target.with_name(target.name + "-journal").write_bytes(b"of it")
        raise sqlite3.OperationalError("database or disk is full")


class Never(Executor):
    """Is busy with something else for ever."""

    def submit(self, fn, /, *args, **kwargs):
        del fn, args, kwargs
        return Future()


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "chronos.sqlite3")
    StateMachine(database).apply([Entry(7, 2, encode_entry([Barrier("x")]))])
    with database.write() as connection:
        rows = [(f"counter-{number}", number) for number in range(60_000)]
        connection.exec_driver_sql("INSERT INTO counters VALUES (?, ?)", rows)
    yield database
    database.close()


@pytest.fixture
def make(database, tmp_path):
    """Backups of the database; all are closed and leave nothing."""
    background = ThreadPoolExecutor(1)
    made = []

    def new(**options):
        given = {
            "cluster_id": lambda: "a-cluster",
            "confirm": lambda _: 7,
            "background": background,
            "clock": SystemClock(),
            "free_bytes": lambda _: PLENTY,
        }
        made.append(Backups(database, tmp_path / "backup", "n1", **given | options))
        return made[-1]

    yield new
    for backups in made:
        backups.close()
    background.shutdown(wait=True)
    assert not (tmp_path / "backup").exists() or list((tmp_path / "backup").iterdir()) == []


def read_all(backups, ready):
    data = b""
    while part := backups.read(ready.token, len(data)).data:
        assert len(part) <= PART_BYTES
        data += part
    return data


def test_a_backup_is_read_in_parts_and_describes_itself(make, tmp_path):
    backups = make()
    ready = backups.prepare(10)
    data = read_all(backups, ready)
    assert ready.size == len(data) > PART_BYTES
    found = read_description(data[:HEAD_BYTES], data[-MAX_DESCRIPTION_BYTES - END_BYTES :], len(data))
    assert (found.index, found.term, found.cluster_id, found.node_id) == (7, 2, "a-cluster", "n1")
    assert (found.index, found.taken_at) == (ready.index, ready.taken_at)
    (tmp_path / "copy").write_bytes(data[: found.size])
    assert sha256_of(tmp_path / "copy") == found.sha256


def test_a_backup_opens_as_the_database_it_is(database, tmp_path):
    write_backup(database, tmp_path / "b", node_id="n1", cluster_id="c", taken_at=5, go_on=lambda: None)
    connection = sqlite3.connect(f"{(tmp_path / 'b').as_uri()}?mode=ro&immutable=1", uri=True)
    assert connection.execute("SELECT count(*) FROM counters").fetchone() == (60_000,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_whoever_has_it_has_it_alone_until_it_is_released(make, tmp_path):
    backups = make()
    first = backups.prepare(10)
    second = backups.prepare(10)
    assert isinstance(second, Rejected)
    assert "somebody else" in second.message
    assert backups.read("made up", 0).code == "conflict"
    backups.release("made up")
    assert backups.read(first.token, 0).data
    backups.release(first.token)
    wait_for(lambda: not list((tmp_path / "backup").iterdir()), "the copy to be removed")
    third = wait_for(lambda: isinstance(found := backups.prepare(10), BackupReady) and found, "another backup")
    assert third.token != first.token
    assert "take a new one" in backups.read(first.token, 0).message
    backups.release(third.token)


def test_a_backup_nobody_reads_is_removed(make, tmp_path):
    backups = make(idle_s=0.05)
    ready = backups.prepare(10)
    wait_for(lambda: not list((tmp_path / "backup").iterdir()), "the copy to be removed")
    assert wait_for(lambda: isinstance(backups.read(ready.token, 0), Rejected), "the token to be forgotten")


def test_a_copy_that_takes_long_is_waited_for_again(make):
    backups = make(background=Never())
    assert backups.prepare(0) == backups.prepare(0.01) == BackupUnderWay()


def test_a_disk_without_room_for_the_copy_and_a_reserve_is_refused_before_anything_is_written(make, database):
    backups = make(free_bytes=lambda _: database.size() + RESERVE_BYTES - 1)
    told = backups.prepare(10)
    assert told.code == "unavailable"
    assert f"beside {RESERVE_BYTES} to be left free" in told.message
    assert isinstance(make().prepare(10), BackupReady)


def test_a_disk_that_fills_up_all_the_same_leaves_no_part_of_the_copy(tmp_path):
    full = FullDisk(tmp_path / "full.sqlite3")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CopyFailed, match="database or disk is full"):
        write_backup(full, tmp_path / "b", node_id="n1", cluster_id="c", taken_at=5, go_on=lambda: None)
    assert sorted(tmp_path.iterdir()) == before
    full.close()


def test_a_worker_that_stops_does_not_finish_the_copy_first(database, tmp_path):
    def stop():
        raise CopyFailed("this worker is stopping")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(CopyFailed, match="is stopping"):
        write_backup(database, tmp_path / "b", node_id="n1", cluster_id="c", taken_at=5, go_on=stop)
    assert sorted(tmp_path.iterdir()) == before


def test_a_worker_that_cannot_make_sure_of_being_up_to_date_makes_no_backup(make):
    told = make(confirm=lambda _: None).prepare(10)
    assert "no quorum" in told.message


def test_a_failure_is_told_and_the_next_one_is_tried_anew(make):
    answers = iter([None, 7])
    backups = make(confirm=lambda _: next(answers))
    assert isinstance(backups.prepare(10), Rejected)
    assert isinstance(backups.prepare(10), BackupReady)


def test_what_an_earlier_life_left_is_removed_and_a_closing_one_makes_none(make, tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "old.backup").write_text("secrets")
    backups = make()
    assert not (tmp_path / "backup").exists()
    backups.close()
    assert "is stopping" in backups.prepare(1).message
