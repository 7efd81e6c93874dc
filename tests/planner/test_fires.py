"""How due occurrences are answered: grace, misfire policies, and exactly one next fire time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos_common.models import Misfire, MisfirePolicy, NodeInfo, NodeState, SkipReason
from chronos_common.schedules import parse_schedule
from chronos_worker.planner.fires import MAX_COUNTED, MAX_RUNS, answer_due, plan_fires
from chronos_worker.planner.inputs import DueExecution, DueJob
from chronos_worker.planner.seats import Seats
from chronos_worker.planner.starts import plan_starts

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_700_049_600_000  # a full hour


def due(misfire=None, *, schedule="* * * * *", at=NOON, seq=1):
    return DueJob(seq, bytes(16), 1, at, NOON - 90 * MINUTE, schedule, "UTC", misfire or Misfire())


def answered(job, now):
    return answer_due(job, parse_schedule(job.schedule, job.timezone), now)


def node(name, seats, state=NodeState.LIVE):
    return NodeInfo(name, 1, state, "http://c", seats)


def test_an_occurrence_on_time_runs_and_the_next_is_due():
    assert answered(due(), NOON + 3) == ((NOON,), (), NOON + MINUTE)


def test_an_occurrence_within_its_grace_runs_by_itself():
    answer = answered(due(Misfire(grace_ms=10 * MINUTE)), NOON + 5 * MINUTE)
    assert answer == ((NOON,), (), NOON + MINUTE)


def test_skip_leaves_one_row_for_the_whole_stretch():
    answer = answered(due(Misfire(MisfirePolicy.SKIP)), NOON + 5 * MINUTE + 1)
    (row,) = answer.skips
    assert answer.run_times == ()
    assert (row.reason, row.first_fire_time, row.last_fire_time, row.count) == (
        SkipReason.MISFIRE, NOON, NOON + 5 * MINUTE, 6,
    )  # fmt: skip
    assert answer.next_fire_time == NOON + 6 * MINUTE


def test_fire_once_runs_the_last_and_records_those_before():
    answer = answered(due(Misfire(MisfirePolicy.FIRE_ONCE)), NOON + 5 * MINUTE)
    assert answer.run_times == (NOON + 5 * MINUTE,)
    (row,) = answer.skips
    assert (row.reason, row.first_fire_time, row.last_fire_time, row.count) == (
        SkipReason.COALESCED, NOON, NOON + 4 * MINUTE, 5,
    )  # fmt: skip


def test_fire_once_of_a_single_missed_occurrence_records_nothing_else():
    assert answered(due(schedule="0 * * * *"), NOON + 30 * MINUTE) == ((NOON,), (), NOON + HOUR)


def test_fire_all_runs_every_missed_occurrence():
    answer = answered(due(Misfire(MisfirePolicy.FIRE_ALL)), NOON + 3 * MINUTE)
    assert answer.run_times == tuple(NOON + n * MINUTE for n in range(4))
    assert answer.skips == ()


@pytest.mark.parametrize("limit", [{"cap": 2}, {"window_ms": MINUTE}])
def test_fire_all_is_bounded_and_says_what_it_left_out(limit):
    answer = answered(due(Misfire(MisfirePolicy.FIRE_ALL, **limit)), NOON + 5 * MINUTE)
    assert answer.run_times == (NOON + 4 * MINUTE, NOON + 5 * MINUTE)
    (row,) = answer.skips
    assert (row.reason, row.first_fire_time, row.last_fire_time, row.count) == (
        SkipReason.CATCH_UP_LIMIT, NOON, NOON + 3 * MINUTE, 4,
    )  # fmt: skip


def test_a_week_of_missed_seconds_is_counted_up_to_a_bound():
    answer = answered(due(Misfire(MisfirePolicy.SKIP), schedule="* * * * * *"), NOON + 7 * 24 * HOUR)
    (row,) = answer.skips
    assert row.at_least
    assert row.count == MAX_COUNTED + 2


def test_a_one_shot_has_no_next_fire_time():
    job = due(schedule="@at 2023-11-15T12:00:00Z")
    assert answered(job, NOON + 5) == ((NOON,), (), None)


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "@every 90s", "0 */2 * * *", "30 * * * * *"]),
    st.sampled_from(list(MisfirePolicy)),
    st.integers(0, 6 * HOUR),
    st.integers(0, 5 * MINUTE),
    st.integers(1, 50),
)
def test_every_due_occurrence_is_answered_exactly_once(schedule, policy, late_ms, grace_ms, cap):
    parsed = parse_schedule(schedule, "UTC")
    anchor = NOON - 90 * MINUTE
    first = parsed.next_after(NOON - 1, anchor)
    job = due(Misfire(policy, grace_ms=grace_ms, cap=cap), schedule=schedule, at=first)
    now = first + late_ms
    occurrences, at = [], first
    while at is not None and at <= now:
        occurrences.append(at)
        at = parsed.next_after(at, anchor)
    seen = []
    while job.next_fire_time is not None and job.next_fire_time <= now:
        answer = answer_due(job, parsed, now)
        for row in answer.skips:
            stretch = [time for time in occurrences if row.first_fire_time <= time <= row.last_fire_time]
            assert row.count == len(stretch) or row.at_least
            seen += stretch
        seen += answer.run_times
        assert answer.next_fire_time is None or answer.next_fire_time > job.next_fire_time
        job = job._replace(next_fire_time=answer.next_fire_time)
    assert seen == occurrences


def test_seats_are_handed_out_evenly_and_never_twice():
    seats = Seats([node("a", 3), node("b", 3), node("c", 1, NodeState.DRAINING)], {"a": 1})
    taken = [seats.claims[index].node_id for index in iter(seats.take, None)]
    assert taken.count("a") == 2
    assert taken.count("b") == 3
    assert not seats.any_free


def test_runs_without_a_seat_are_left_pending():
    command = plan_fires([due(seq=1), due(seq=2)], NOON, Seats([node("a", 1)], {}))
    assert [item.runs[0].claim for item in command.items] == [0, None]


def test_a_command_is_full_at_a_bound_and_the_rest_follows_later():
    backlog = [due(Misfire(MisfirePolicy.FIRE_ALL, cap=1_000), seq=n) for n in range(1, 6)]
    command = plan_fires(backlog, NOON + 999 * MINUTE, Seats([], {}))
    assert sum(len(item.runs) for item in command.items) == MAX_RUNS


def test_nothing_due_is_no_command():
    assert plan_fires([], NOON, Seats([], {})) is None
    assert plan_starts([], NOON, Seats([node("a", 1)], {})) is None


def test_pending_executions_start_as_far_as_there_are_seats():
    command = plan_starts([DueExecution(7, 0), DueExecution(8, 2)], NOON, Seats([node("a", 1)], {}))
    assert [(item.execution_seq, item.number) for item in command.items] == [(7, 1)]
