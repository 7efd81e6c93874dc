"""The leader's looks at the rows: when it looks, and when it leaves things alone."""

import pytest

from chronos_common.commands import Claim, Fire
from chronos_common.models import AttemptStatus, NodeInfo, NodeState
from chronos_worker.leader import MAX_PLANS, PATIENCE_S, Planning
from chronos_worker.state_machine.effects import Planned
from tests.state_machine.conftest import MINUTE, retrying


def node(state=NodeState.LIVE, seats=10):
    return NodeInfo("n1", 1, state, "http://n1", seats)


@pytest.fixture
def planning(ledger):
    return Planning(ledger.database, ledger.machine)


def apply(ledger, planning, commands):
    for command in commands:
        for effect in ledger.apply(command):
            if isinstance(effect, Planned):
                planning.applied(effect.at, 0.0)
        planning.due_from(ledger.machine.due_from)


def test_while_nobody_works_nothing_is_fired_and_then_at_once(ledger, planning):
    ledger.create(schedule="* * * * *")
    assert planning.plan(MINUTE, 0.0, [node(NodeState.DRAINING)]) == []
    assert planning.wait_s(MINUTE, 1.0) == 1.0
    (fire,) = planning.plan(MINUTE, 0.0, [node()])
    assert isinstance(fire, Fire)


def test_what_is_planned_is_not_planned_again_until_it_is_taken_for_lost(ledger, planning):
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
    planning.lost()
    assert planning.plan(MINUTE, 0.1, [node()]) == [fire]


def every_second(ledger, count):
    """Jobs that are due at one instant each: 1 s, 2 s, ..."""
    for number in range(1, count + 1):
        ledger.create(f"job-{number}", next_fire_time=number * 1_000, schedule="@every 1h")


def fired(commands):
    return [run.fire_time for command in commands for item in command.items for run in item.runs]


def test_what_becomes_due_does_not_wait_for_the_plan_before_it(ledger, planning):
    every_second(ledger, 2)
    first = planning.plan(1_000, 0.0, [node()])
    assert fired(first) == [1_000]
    assert planning.wait_s(1_000, 100.0) == 1.0
    second = planning.plan(2_000, 0.0, [node()])
    assert fired(second) == [2_000]
    apply(ledger, planning, first + second)
    assert planning.plan(2_000, 0.0, [node()]) == []
    assert [e.fire_time for e in ledger.executions()] == [1_000, 2_000]


def test_plans_on_their_way_are_bounded(ledger, planning):
    every_second(ledger, MAX_PLANS + 2)
    plans = [planning.plan(number * 1_000, 0.0, [node()]) for number in range(1, MAX_PLANS + 1)]
    assert all(plans)
    late = (MAX_PLANS + 2) * 1_000
    assert planning.plan(late, 0.0, [node()]) == []
    assert planning.wait_s(late, 100.0) == 100.0
    apply(ledger, planning, plans[0])
    assert fired(planning.plan(late, 0.0, [node()])) == [late - 1_000, late]


def test_a_seat_that_a_plan_on_its_way_takes_is_not_given_twice(ledger, planning):
    every_second(ledger, 3)
    planned = [planning.plan(number * 1_000, 0.0, [node(seats=2)]) for number in (1, 2, 3)]
    assert [command.items[0].runs[0].claim for commands in planned[:2] for command in commands] == [0, 0]
    assert planned[2] == [] or planned[2][0].items[0].runs[0].claim is None


def test_what_turns_up_on_this_side_of_the_last_look_waits_for_the_plans_before_it(ledger, planning):
    every_second(ledger, 2)
    plan = planning.plan(1_000, 0.0, [node()])
    ledger.create("late", next_fire_time=900, schedule="@every 1h")
    planning.due_from(ledger.machine.due_from)
    assert planning.plan(2_000, 0.0, [node()]) == []
    apply(ledger, planning, plan)
    assert fired(planning.plan(2_000, 0.0, [node()])) == [900, 2_000]


def test_more_than_one_plan_holds_is_planned_when_the_first_was_applied(ledger, planning, monkeypatch):
    monkeypatch.setattr("chronos_worker.leader.FIRES_PER_PLAN", 2)
    for name in "abc":
        ledger.create(name, next_fire_time=1_000, schedule="@every 1h")
    first = planning.plan(1_000, 0.0, [node()])
    assert len(fired(first)) == 2
    assert planning.plan(1_001, 0.0, [node()]) == []
    apply(ledger, planning, first)
    assert len(fired(planning.plan(1_001, 0.0, [node()]))) == 1


def test_another_leaders_plan_is_none_of_ours(ledger, planning):
    every_second(ledger, 1)
    (fire,) = planning.plan(1_000, 0.0, [node()])
    assert planning.applied(fire.at - 1, 0.0) is None
    assert planning.applied(None, 0.0) is None
    assert planning.plan(1_001, 0.0, [node()]) == []
    assert planning.applied(fire.at, 0.5) == 0.5


def test_a_start_refused_for_its_node_is_planned_for_another(ledger, planning):
    ledger.create(schedule="* * * * *")
    apply(ledger, planning, planning.plan(MINUTE, 0.0, [node(seats=0)]))
    (start,) = planning.plan(MINUTE, 0.0, [node()])
    apply(ledger, planning, [start.__class__(start.at, (Claim("n1", 7),), start.items)])
    assert planning.plan(MINUTE, 0.0, [node()]) == [start]
