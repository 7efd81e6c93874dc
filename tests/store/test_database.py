"""The replica: copies, replacement, durability, and the schema as both sides state it."""

import contextlib
import importlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import migrations
from chronos_common.commands import FIRST_LEVEL, Barrier, encode_entry
from chronos_worker.state_machine.machine import Entry, StateMachine
from chronos_worker.store.database import Database, sha256_of
from chronos_worker.store.planning_queries import list_nodes
from chronos_worker.store.revision import NewerData, known_revisions, migrate_apart, newest, revision_of
from chronos_worker.store.snapshots import Snapshots


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "a.sqlite3")
    yield database
    database.close()


def apply(database, index):
    StateMachine(database).apply([Entry(index, 3, encode_entry([Barrier("x")]))])


def test_a_copy_is_at_one_index_and_can_be_adopted(database, tmp_path):
    apply(database, 5)
    file = Snapshots(database).save(tmp_path / "copies")
    assert (file.index, file.term, file.size, file.sha256) == (5, 3, file.path.stat().st_size, sha256_of(file.path))
    apply(database, 6)
    other = Database(tmp_path / "b.sqlite3")
    snapshots = Snapshots(other)
    assert not snapshots.take_installed()
    snapshots.install(file.path, 5, 3)
    assert other.applied() == snapshots.applied() == (5, 3)
    assert snapshots.take_installed()
    assert not snapshots.take_installed()
    apply(other, 6)
    assert other.applied() == (6, 3)
    other.close()


def test_a_copy_at_another_index_is_refused_and_changes_nothing(database, tmp_path):
    apply(database, 5)
    file = Snapshots(database).save(tmp_path / "copies")
    other = Database(tmp_path / "b.sqlite3")
    snapshots = Snapshots(other)
    with pytest.raises(ValueError, match="announced was"):
        snapshots.install(file.path, 4, 3)
    assert other.applied() == (0, 0)
    assert not snapshots.take_installed()
    other.close()


def test_making_durable_tells_how_far(database):
    apply(database, 9)
    assert database.make_durable() == 9
    assert database.size() > 0


def test_readers_see_one_state_while_the_writer_goes_on(database):
    apply(database, 1)
    with database.read() as connection:
        before = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'applied_index'").scalar()
        apply(database, 2)
        after = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'applied_index'").scalar()
    assert before == after == 1
    assert database.applied() == (2, 3)


def test_a_reader_cannot_write(database):
    with pytest.raises(Exception, match="readonly"), database.read() as connection:
        connection.exec_driver_sql("DELETE FROM meta")


def test_a_failed_transaction_leaves_no_trace(database):
    with contextlib.suppress(RuntimeError), database.write() as connection:
        connection.exec_driver_sql("DELETE FROM meta")
        raise RuntimeError
    assert database.applied() == (0, 0)


def test_a_newer_schema_is_refused(database, tmp_path):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerData, match="of schema 9999, this version knows up to"):
        Database(tmp_path / "a.sqlite3")


def test_rows_of_the_first_schema_are_brought_up_to_date_with_all_that_is_in_them(tmp_path):
    first = importlib.import_module("migrations.versions.0001_first")
    path = tmp_path / "old.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        for statement in first.STATEMENTS:
            old.execute(statement)
        old.execute("INSERT INTO nodes VALUES ('n1', 7, 'live', 'http://c', 5, '0.0.9', 1)")
        old.execute("UPDATE meta SET value = 42 WHERE key = 'applied_index'")
        old.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        old.execute("INSERT INTO alembic_version VALUES ('0001')")
    database = Database(path)
    with database.read() as connection:
        (node,) = list_nodes(connection)
    assert (node.node_id, node.incarnation, node.reads) == ("n1", 7, FIRST_LEVEL)
    assert (database.applied()[0], database.level()) == (42, FIRST_LEVEL)


class Watched(Database):
    """Remembers which files it synced by itself."""

    def __init__(self, path):
        self.synced = []
        super().__init__(path)

    def _sync(self, file):
        self.synced.append(file.name)
        super()._sync(file)


def test_what_a_long_read_keeps_out_of_the_file_is_durable_all_the_same(tmp_path):
    database = Watched(tmp_path / "a.sqlite3")
    apply(database, 5)
    assert database.make_durable() == 5
    assert database.synced == []
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1 FROM meta").all()
        apply(database, 6)
        assert database.make_durable() == 6
        assert database.synced == ["a.sqlite3-wal"]
    assert database.make_durable() == 6
    assert database.synced == ["a.sqlite3-wal"]
    database.close()


def test_a_copy_leaves_no_long_log_behind_for_the_next_commit(tmp_path):
    database = Database(tmp_path / "a.sqlite3")
    apply(database, 5)

    def write_more():
        apply(database, 6)

    assert database.copy_to(tmp_path / "copy", go_on=write_more) == (5, 3)
    # https://www.sqlite.org/walformat.html, 2.1: mxFrame, nBackfill
    index = (tmp_path / "a.sqlite3-shm").read_bytes()
    written, copied = (int.from_bytes(index[at : at + 4], sys.byteorder) for at in (16, 96))
    assert written > 0
    assert copied == written
    database.close()


def test_the_known_revisions_are_those_of_alembic(tmp_path):
    script = ScriptDirectory(Path(migrations.__file__).parent)
    assert known_revisions() == {item.revision for item in script.walk_revisions()}
    assert newest() == script.get_current_head()
    Database(tmp_path / "b.sqlite3").close()
    assert revision_of(tmp_path / "b.sqlite3") == newest()


def test_a_file_without_a_schema_gets_one_in_another_process(tmp_path):
    migrate_apart(tmp_path / "b.sqlite3")
    assert revision_of(tmp_path / "b.sqlite3") == newest()


def test_a_newer_schema_survives_the_attempt_in_another_process(database, tmp_path):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    migrate_apart(tmp_path / "a.sqlite3")
    assert revision_of(tmp_path / "a.sqlite3") == "9999"


def test_opening_a_current_replica_does_not_import_alembic(tmp_path):
    path = tmp_path / "b.sqlite3"
    Database(path).close()
    program = (
        "import sys, pathlib; from chronos_worker.worker import Worker; "
        "from chronos_worker.store.database import Database; "
        "Database(pathlib.Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
