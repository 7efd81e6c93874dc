"""A checker is worth what it finds: every kind of wrong is shown to it."""

import sqlite3

import pytest

from bench.ledger import Due, Row, Span, Totals, check, is_settled, read_rows, replicas_agree
from chronos_common.ids import occurrence_id
from chronos_common.models import Skipped, SkipReason
from chronos_worker.store.database import Database
from chronos_worker.store.rows import Extra, pack

JOB = 7
DUE = [Due(JOB, 1_000, 4_000, 1_000)]


def _id(fire_time):
    return occurrence_id(b"a job", fire_time)


def _row(fire_time, **changed):
    row = Row(_id(fire_time), JOB, fire_time, "succeeded", 1)
    return row._replace(**changed)


def _three(**changed):
    return [_row(1_000), _row(2_000, **changed), _row(3_000)]


ARRIVED = {_id(1_000): 1, _id(2_000): 1, _id(3_000): 1}


def test_a_ledger_in_order_is_clean():
    verdict = check(DUE, _three(), ARRIVED)
    assert verdict.totals == Totals(expected=3, recorded=3, sink=3)
    assert verdict.totals.clean
    assert verdict.problems == []


def test_an_occurrence_without_a_row_is_missing():
    rows = [_row(1_000), _row(3_000)]
    arrived = {_id(1_000): 1, _id(3_000): 1}
    verdict = check(DUE, rows, arrived)
    assert verdict.totals == Totals(expected=3, recorded=2, sink=2, missing=1)
    assert "[2000]" in verdict.problems[0]


def test_a_job_without_any_row_is_missing_as_a_whole():
    assert check(DUE, [], {}).totals == Totals(expected=3, missing=3)


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_row_that_has_not_ended_accounts_for_nothing(status):
    assert check(DUE, _three(status=status), ARRIVED).totals.missing == 1


def test_a_success_that_never_arrived_is_missing():
    arrived = {_id(1_000): 1, _id(3_000): 1}
    verdict = check(DUE, _three(), arrived)
    assert verdict.totals == Totals(expected=3, recorded=3, sink=2, missing=1)
    assert "never arrived" in verdict.problems[0]


def test_an_arrival_without_a_row_is_missing_from_the_ledger():
    verdict = check(DUE, _three(), {**ARRIVED, _id(9_000): 1})
    assert verdict.totals.missing == 1
    assert "has no row" in verdict.problems[0]


def test_a_request_more_than_attempts_is_doubled():
    verdict = check(DUE, _three(), {**ARRIVED, _id(2_000): 2})
    assert verdict.totals == Totals(expected=3, recorded=3, sink=4, doubled=1)
    assert "2 times in 1 attempt" in verdict.problems[0]


def test_a_request_for_each_attempt_is_not_doubled():
    verdict = check(DUE, _three(attempt=2), {**ARRIVED, _id(2_000): 2})
    assert verdict.totals.clean
    assert verdict.repeated == 1


def test_two_rows_for_one_occurrence_are_doubled():
    rows = [*_three(), _row(2_000, execution_id=b"another id")]
    verdict = check(DUE, rows, {**ARRIVED, b"another id": 1})
    assert verdict.totals == Totals(expected=3, recorded=3, sink=4, doubled=1)


def test_a_skipped_stretch_accounts_for_its_occurrences_and_no_other():
    rows = [_row(2_000, status="skipped", attempt=0, skipped=(1_000, 2_000))]
    verdict = check(DUE, rows, {})
    assert verdict.totals == Totals(expected=3, recorded=2, missing=1)
    assert verdict.skipped == 2


def test_a_skipped_occurrence_that_arrived_is_doubled():
    verdict = check(DUE, _three(status="skipped", attempt=0, skipped=(2_000, 2_000)), ARRIVED)
    assert verdict.totals.doubled == 1


def test_rows_of_other_jobs_explain_their_arrivals_and_count_for_nothing():
    other = _row(2_000, job_seq=8, execution_id=b"other")
    assert check(DUE, [*_three(), other], {**ARRIVED, b"other": 1}).totals == Totals(expected=3, recorded=3, sink=3)


def test_a_run_at_a_time_that_was_not_due_answers_nothing():
    rows = [_row(1_000), _row(2_500), _row(3_000)]
    arrived = {_id(1_000): 1, _id(2_500): 1, _id(3_000): 1}
    assert check(DUE, rows, arrived).totals.missing == 1


# -- reading a node's own file ------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "chronos.sqlite3")
    yield opened
    opened.close()


def _insert(database, seq, fire_time, status="succeeded", extra=None):
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO executions (seq, id, job_seq, job_version, status, cause, fire_time, created_at, attempt, "
            "lost_count, max_attempts, extra) VALUES (?, ?, ?, 1, ?, 'schedule', ?, 0, 1, 0, 3, ?)",
            (seq, _id(fire_time), JOB, status, fire_time, extra),
        )


def test_the_rows_of_a_span_are_read_from_a_file_in_use(database):
    _insert(database, 1, 1_000)
    _insert(database, 2, 2_000, "skipped", pack(Extra(skipped=Skipped(SkipReason.OVERLAP, 1_500, 2_000, 2))))
    _insert(database, 3, 3_000)
    rows = list(read_rows(database.path, Span(1_000, 3_000)))
    assert [row.fire_time for row in rows] == [1_000, 2_000]
    assert rows[1].skipped == (1_500, 2_000)


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_node_is_not_settled_while_something_goes_on(database, status):
    assert is_settled(database.path, 5_000)
    _insert(database, 1, 1_000, status)
    assert not is_settled(database.path, 5_000)


def test_a_node_is_not_settled_while_something_is_due(database):
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO jobs (seq, id, namespace, name, version, enabled, concurrency, max_attempts, timezone, "
            "misfire, next_fire_time, spec, created_at, updated_at) "
            "VALUES (1, x'00', 'default', 'a', 1, 1, 'forbid', 3, 'UTC', x'80', 4000, x'80', 0, 0)"
        )
    assert not is_settled(database.path, 5_000)
    assert is_settled(database.path, 4_000)


def test_replicas_that_differ_in_one_row_are_told(database, tmp_path):
    other = Database(tmp_path / "other.sqlite3")
    span = Span(0, 10_000)
    for each in (database, other):
        _insert(each, 1, 1_000)
    assert replicas_agree([database.path, other.path], span)
    _insert(other, 2, 2_000)
    assert not replicas_agree([database.path, other.path], span)
    other.close()


def test_the_check_writes_nothing_to_the_file_it_judges(database):
    with pytest.raises(sqlite3.OperationalError):
        list(read_rows(database.path.with_name("absent.sqlite3"), Span(0, 1)))
    assert not database.path.with_name("absent.sqlite3").exists()
