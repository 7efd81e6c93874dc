"""Checkpoints beside the writer: when, how far, and what they leave alone."""

import sqlite3

import pytest

from chronos_worker.store.checkpoints import CHANGES, CheckpointThread
from chronos_worker.store.database import Database
from tests.support.processes import wait_for


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "a.sqlite3")
    database.checkpoint()
    yield database
    database.close()


def write(database, rows):
    with database.write() as connection:
        connection.connection.driver_connection.executemany(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
            [(f"counter {number}",) for number in range(rows)],
        )


def in_the_file_alone(path):
    """What a reader finds who does not know the write-ahead log."""
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM counters").fetchone()[0]
    finally:
        connection.close()


def test_what_was_written_is_moved_once_there_is_enough(database):
    checkpoints = CheckpointThread(database)
    checkpoints.run_once()
    write(database, CHANGES // 2)
    assert checkpoints.run_once() == 0
    assert in_the_file_alone(database.path) == 0
    write(database, CHANGES // 2)
    assert checkpoints.run_once() == 2
    assert in_the_file_alone(database.path) == CHANGES // 2
    assert checkpoints.run_once() == 0


class Scripted:
    """A database that is written to all the while: each pass finds what was written during the one before."""

    changes = CHANGES

    def __init__(self, *found):
        self._found = list(found)
        self.asked = []

    def checkpoint(self, *, wholly=False):
        self.asked.append(wholly)
        return self._found.pop(0)


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        ([(4_000, 4_000), (4_300, 4_300), (4_350, 4_350), (4_355, 4_355)], [False, False, False, True]),
        ([(100, 100), (101, 101)], [False, True]),
        ([(4_000, 3_000)], [False]),
        ([(-1, -1)], [False]),
        ([(number * 1_000, number * 1_000) for number in range(1, 10)], [False] * 6),
    ],
    ids=[
        "few are left",
        "there were few",
        "a reader needs the rest",
        "another one is at it",
        "there are always many",
    ],
)
def test_the_writer_waits_only_for_few_pages(found, asked):
    database = Scripted(*found)
    assert CheckpointThread(database).run_once() == len(asked)
    assert database.asked == asked


def test_the_log_begins_anew_after_a_pass_that_nobody_writes_during(database):
    log = database.path.with_name(database.path.name + "-wal")
    write(database, CHANGES)
    assert database.checkpoint(wholly=True)[0] > 1
    longest = log.stat().st_size
    write(database, CHANGES)
    assert log.stat().st_size == longest


def test_what_a_reader_still_needs_stays_in_the_log(database):
    checkpoints = CheckpointThread(database)
    with database.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM counters").all()
        write(database, CHANGES)
        assert checkpoints.run_once() == 1
        written, copied = database.checkpoint()
        assert copied < written
    assert database.checkpoint() == (written, written)
    assert in_the_file_alone(database.path) == CHANGES


def test_it_goes_on_with_the_file_that_took_the_place_of_the_first(database, tmp_path):
    checkpoints = CheckpointThread(database)
    write(database, CHANGES)
    checkpoints.run_once()
    database.copy_to(tmp_path / "copy")
    database.replace_with(tmp_path / "copy")
    write(database, 3 * CHANGES)
    assert checkpoints.run_once() > 0
    assert in_the_file_alone(database.path) == 3 * CHANGES


def test_the_thread_does_it_by_itself(database):
    checkpoints = CheckpointThread(database)
    checkpoints.start()
    write(database, CHANGES)
    wait_for(lambda: in_the_file_alone(database.path) == CHANGES, "the checkpoint")
    checkpoints.close()


def failing(database, monkeypatch, name, error):
    """The first call of a method of the database fails."""
    failures, real = [error], getattr(database, name)

    def method(**how):
        if failures:
            raise failures.pop()
        return real(**how)

    monkeypatch.setattr(database, name, method)
    return failures


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_CANTOPEN])
def test_what_has_not_begun_is_tried_again(database, monkeypatch, code):
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    failures = failing(database, monkeypatch, "checkpoint", error)
    checkpoints = CheckpointThread(database)
    checkpoints.start()
    write(database, CHANGES)
    wait_for(lambda: not failures, "the failure")
    write(database, CHANGES)
    wait_for(lambda: in_the_file_alone(database.path) == CHANGES, "the checkpoint")
    assert checkpoints.durable_index == 0
    checkpoints.close()


def io_error():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


def raised(checkpoints):
    try:
        checkpoints.durable_index  # noqa: B018 - it is what raises
    except (OSError, sqlite3.Error) as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("checkpoint", io_error()),
        ("checkpoint", OSError(5, "Input/output error")),
        ("make_durable", OSError(5, "Input/output error")),
    ],
)
def test_a_disk_that_fails_is_not_tried_again_and_whoever_asks_is_told(database, monkeypatch, method, error):
    failing(database, monkeypatch, method, error)
    checkpoints = CheckpointThread(database)
    checkpoints.start()
    write(database, CHANGES)
    checkpoints.ask()
    assert wait_for(lambda: raised(checkpoints), "the failure") == str(error)
    write(database, CHANGES)
    assert raised(checkpoints) == str(error)
    checkpoints.close()


def apply(database, index):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = ? WHERE key = 'applied_index'", (index,))


def test_it_tells_how_far_the_rows_are_durable_once_it_was_asked(database):
    checkpoints = CheckpointThread(database)
    apply(database, 7)
    assert (checkpoints.run_once(), checkpoints.durable_index) == (0, 0)
    checkpoints.ask()
    assert (checkpoints.run_once(), checkpoints.durable_index) == (1, 7)
    apply(database, 8)
    assert (checkpoints.run_once(), checkpoints.durable_index) == (0, 7)


def test_asking_while_another_checkpoint_is_under_way_is_asking_again(database, monkeypatch):
    checkpoints = CheckpointThread(database)
    apply(database, 7)
    answers = [0, 7]
    monkeypatch.setattr(database, "make_durable", lambda: answers.pop(0))
    checkpoints.ask()
    checkpoints.run_once()
    assert checkpoints.durable_index == 0
    checkpoints.run_once()
    assert checkpoints.durable_index == 7
    assert checkpoints.run_once() == 0
