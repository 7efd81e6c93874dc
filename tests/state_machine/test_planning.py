"""The leader's looks at the rows: when it looks, and when it leaves things alone."""

import pytest

from chronos_common.commands import Fire
from chronos_common.models import AttemptStatus, NodeInfo, NodeState
from chronos_worker.leader import PATIENCE_S, Planning
from tests.state_machine.conftest import MINUTE, retrying


def node(state=NodeState.LIVE, seats=10):
    return NodeInfo("n1", 1, state, "http://n1", seats)


@pytest.fixture
def planning(ledger):
    return Planning(ledger.database, ledger.machine)


def apply(ledger, planning, commands):
    for command in commands:
        ledger.apply(command)
        planning.due_from(ledger.machine.due_from)
        planning.applied(0.0)


def test_while_nobody_works_nothing_is_fired_and_then_at_once(ledger, planning):
    ledger.create(schedule="* * * * *")
    assert planning.plan(MINUTE, 0.0, [node(NodeState.DRAINING)]) == []
    assert planning.wait_s(MINUTE, 1.0) == 1.0
    (fire,) = planning.plan(MINUTE, 0.0, [node()])
    assert isinstance(fire, Fire)


def test_one_plan_at_a_time_until_it_is_taken_for_lost(ledger, planning):
    ledger.create(schedule="* * * * *")
    (fire,) = planning.plan(MINUTE, 0.0, [node()])
    assert planning.plan(MINUTE, PATIENCE_S / 2, [node()]) == []
    assert planning.plan(MINUTE, PATIENCE_S, [node()]) == [fire]


def test_it_sleeps_until_the_next_fire_time_and_a_new_job_wakes_it(ledger, planning):
    ledger.create(schedule="* * * * *")
    assert planning.plan(1_000, 0.0, [node()]) == []
    assert planning.wait_s(1_000, 100.0) == 59.0
    ledger.create("sooner", next_fire_time=5_000, schedule="*/5 * * * * *")
    planning.due_from(ledger.machine.due_from)
    assert planning.wait_s(1_000, 100.0) == 4.0
    assert len(planning.plan(5_000, 0.0, [node()])[0].items) == 1


def test_a_retry_is_planned_when_it_is_due(ledger, planning):
    ledger.create(schedule="* * * * *", retry_policy=retrying(3))
    apply(ledger, planning, planning.plan(MINUTE, 0.0, [node()]))
    assert planning.plan(MINUTE, 0.0, [node()]) == []
    ledger.record(1, 1, AttemptStatus.FAILED, retry_at=MINUTE + 700)
    planning.due_from(ledger.machine.due_from)
    assert planning.wait_s(MINUTE, 100.0) == 0.7
    (start,) = planning.plan(MINUTE + 700, 0.0, [node()])
    assert [(item.execution_seq, item.number) for item in start.items] == [(1, 2)]


def test_what_waits_for_a_seat_starts_when_one_is_free(ledger, planning):
    for name in ("first", "second"):
        ledger.create(name, schedule="* * * * *")
    apply(ledger, planning, planning.plan(MINUTE, 0.0, [node(seats=1)]))
    assert planning.plan(MINUTE, 0.0, [node(seats=1)]) == []
    ledger.record(1, 1)
    (start,) = planning.plan(MINUTE, 0.0, [node(seats=1)])
    assert [item.execution_seq for item in start.items] == [2]


def test_a_plan_that_the_log_did_not_take_is_made_again(ledger, planning):
    ledger.create(schedule="* * * * *")
    (fire,) = planning.plan(MINUTE, 0.0, [node()])
    planning.unsent()
    assert planning.plan(MINUTE, 0.1, [node()]) == [fire]
