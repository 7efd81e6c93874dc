"""Comparing replicas: what stands alone in an entry, what is held, what is said again."""

from concurrent.futures import Executor, Future

import pytest

from chronos_common.commands import Barrier, ReportDigest, TakeDigest, encode_entry, is_take_digest
from chronos_worker.store.database import Database
from chronos_worker.verifier import MAX_KEPT, Verifier


class Later(Executor):
    """Does the work when told to."""

    def __init__(self):
        self.work = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.work.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "chronos.sqlite3")
    yield database
    database.close()


def verifier_of(database, background, found=None, interval_s=0.0):
    differences = [] if found is None else found
    return Verifier(
        database, "n1", wake=lambda: None, disagree=differences.append, background=background, interval_s=interval_s
    )


def test_an_entry_that_asks_for_a_digest_is_known_by_its_first_bytes():
    assert is_take_digest(encode_entry([TakeDigest("any token")]))
    assert not is_take_digest(encode_entry([Barrier("take_digest")]))
    assert not is_take_digest(b"")


def test_the_digest_is_of_the_rows_as_they_were_when_it_was_taken(database):
    later = Later()
    first, second = verifier_of(database, later), verifier_of(database, later)
    first.taken("t", 5)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO counters VALUES ('later', 1)")
    second.taken("t", 5)
    for work in later.work:
        work()
    before, after = first.plan(0.0, leads=False)[0], second.plan(0.0, leads=False)[0]
    assert before.sha256 != after.sha256


def test_a_report_is_said_again_until_it_is_seen(database):
    later = Later()
    verifier = verifier_of(database, later)
    verifier.taken("t", 5)
    assert verifier.plan(0.0, leads=False) == []
    later.work.pop()()
    (report,) = verifier.plan(0.0, leads=False)
    assert verifier.plan(1.0, leads=False) == []
    assert verifier.plan(2.5, leads=False) == [report]
    verifier.reported(report)
    assert verifier.plan(9.0, leads=False) == []


def test_a_difference_is_told_and_old_comparisons_are_forgotten(database):
    found = []
    verifier = verifier_of(database, Later(), found)
    for number in range(MAX_KEPT + 1):
        verifier.taken(f"t{number}", number)
    verifier.reported(ReportDigest("t8", "n1", 8, "aa", "s"))
    assert not found
    verifier.reported(ReportDigest("t8", "n2", 8, "bb", "s"))
    assert found[0].reports == {"n1": "aa", "n2": "bb"}
    verifier.reported(ReportDigest("t0", "n2", 0, "cc", "s"))
    assert len(found) == 1


def test_only_a_leader_begins_comparisons_by_itself_and_not_at_once(database):
    verifier = verifier_of(database, Later(), interval_s=10.0)
    assert verifier.plan(100.0, leads=True) == []
    assert verifier.plan(111.0, leads=False) == []
    assert isinstance(verifier.plan(111.0, leads=True)[0], TakeDigest)
    assert verifier.plan(112.0, leads=True) == []
