"""The checker sees what it is there to see: each defect, made up, is complained of, and its absence is not."""

import random

import pytest

from tests.cluster.checker import (
    begun_late,
    broken_promises,
    broken_triggers,
    deadline,
    match,
    match_targets,
    overlaps,
    unexplained_repeats,
)
from tests.cluster.history import Allowance, Fault, Operation, Target
from tests.support.sink import Arrival

ALLOWANCE = Allowance(calm_ms=500, after_fault_ms=2_000)
JOB = Target("job", 0, 5_000, 1_000)


def arrival(fire_time, late_ms=10, *, execution=None, attempt=1, took_ms=1):
    at_ms = fire_time + late_ms
    return Arrival("job", execution or f"run-{fire_time}", fire_time, attempt, at_ms, at_ms + took_ms)


PUNCTUAL = [arrival(time) for time in range(0, 5_000, 1_000)]


def test_a_run_for_each_window_is_all_that_is_owed():
    matching = match_targets(JOB, PUNCTUAL, [], ALLOWANCE)
    assert (matching.missed, matching.extra, max(matching.lags_ms)) == ([], [], 10)


def test_a_missed_window_is_told():
    assert match_targets(JOB, PUNCTUAL[:2] + PUNCTUAL[3:], [], ALLOWANCE).missed == [2_000]


def test_a_run_that_begins_too_late_is_a_miss_and_an_extra():
    matching = match_targets(JOB, [*PUNCTUAL[:4], arrival(4_000, 501)], [], ALLOWANCE)
    assert (matching.missed, matching.extra) == ([4_000], [4_501])


def test_an_extra_run_is_told():
    matching = match_targets(JOB, [*PUNCTUAL, arrival(3_000, 20, execution="again")], [], ALLOWANCE)
    assert (matching.missed, matching.extra) == ([], [3_020])


def test_an_occurrence_that_the_ledger_explains_is_not_owed():
    assert match_targets(JOB, PUNCTUAL[1:], [], ALLOWANCE, recorded={0}).missed == []


def test_a_repeat_under_the_same_id_is_no_second_run():
    repeated = [*PUNCTUAL, arrival(1_000, 3_000, attempt=2)]
    assert match_targets(JOB, repeated, [], ALLOWANCE).extra == []


def test_a_fault_near_a_window_extends_it_and_one_elsewhere_does_not():
    fault = Fault("kill", 10_400, 12_000)
    assert deadline(10_000, [fault], ALLOWANCE) == 14_000
    assert deadline(12_000, [fault], ALLOWANCE) == 14_000
    assert deadline(9_000, [fault], ALLOWANCE) == 9_500
    assert deadline(12_001, [fault], ALLOWANCE) == 12_501


@pytest.mark.parametrize("seed", range(200))
def test_no_matching_is_larger_than_the_one_found(seed):
    chance = random.Random(seed)
    windows = [(opens, opens + chance.randrange(8)) for opens in (chance.randrange(12) for _ in range(6))]
    begun = [chance.randrange(18) for _ in range(6)]
    matching = match(windows, begun)
    assert len(matching.lags_ms) == _largest(windows, begun)
    assert len(matching.lags_ms) + len(matching.missed) == len(windows)
    assert len(matching.lags_ms) + len(matching.extra) == len(begun)


def _largest(windows, begun):
    """By augmenting paths, which is slow and needs no order."""
    taken = {}

    def place(run, tried):
        for number, (opens, closes) in enumerate(windows):
            if number not in tried and opens <= begun[run] <= closes:
                tried.add(number)
                if number not in taken or place(taken[number], tried):
                    taken[number] = run
                    return True
        return False

    return sum(place(run, set()) for run in range(len(begun)))


def test_repeats_need_attempts_in_the_ledger():
    twice = [arrival(0), arrival(0, 900, attempt=2)]
    assert unexplained_repeats(twice, {"run-0": 2}) == []
    assert unexplained_repeats(twice, {"run-0": 1}) == ["run-0 arrived as attempt 2 of 1"]
    assert unexplained_repeats([arrival(0)], {}) == ["run-0 arrived and is not in the ledger"]


def test_one_attempt_sent_twice_is_told():
    assert unexplained_repeats([arrival(0), arrival(0, 900)], {"run-0": 2}) == [
        "run-0 arrived twice as one attempt: [1, 1]"
    ]


def test_an_attempt_that_comes_after_the_next_is_told_unless_its_sender_was_stopped():
    late = [arrival(0, 900, attempt=2), arrival(0, 1_000)]
    assert begun_late(late, []) == ["run-0 arrived as attempt 1 at 1000, after attempt 2 at 900"]
    assert begun_late(late, [Fault("pause", 1_001, 2_000)]) != []
    assert begun_late(late, [Fault("pause", 0, 1_000)]) == []
    assert begun_late([arrival(0), arrival(0, 900, attempt=2)], []) == []


def test_runs_of_a_forbid_job_that_overlap_are_told_unless_the_first_was_lost():
    both = [arrival(0, took_ms=1_500), arrival(1_000)]
    assert overlaps(both, set()) == ["run-1000 began at 1010 while run-0 ran until 1510"]
    assert overlaps(both, {("run-0", 1)}) == []
    assert overlaps([arrival(0), arrival(1_000)], set()) == []


def test_attempts_of_one_execution_that_overlap_are_told():
    both = [arrival(0, took_ms=1_500), arrival(0, 1_000, attempt=2)]
    assert len(overlaps(both, set())) == 1


def test_a_long_run_overlaps_with_all_that_begin_within_it():
    runs = [arrival(0, took_ms=5_000), arrival(1_000), arrival(3_000)]
    assert len(overlaps(runs, set())) == 2


def written(*steps):
    return [Operation(kind, "a", value, outcome) for kind, value, outcome in steps]


def test_acknowledged_writes_that_are_there_are_no_matter():
    assert broken_promises(written(("create", 0, "ok"), ("read", 0, "ok"), ("update", 1, "ok")), {"a": 1}) == []
    assert broken_promises(written(("create", 0, "ok"), ("delete", None, "ok")), {"a": None}) == []


def test_a_lost_acknowledged_write_is_told():
    assert broken_promises(written(("create", 0, "ok")), {}) == ["a is None at the end, it must be one of [0]"]
    lost_update = written(("create", 0, "ok"), ("update", 1, "ok"))
    assert broken_promises(lost_update, {"a": 0}) == ["a is 0 at the end, it must be one of [1]"]
    assert broken_promises(written(("create", 0, "ok"), ("delete", None, "ok")), {"a": 0}) != []


def test_a_refused_write_that_was_made_is_told():
    assert broken_promises(written(("create", 0, "ok"), ("update", 1, "fail")), {"a": 1}) != []


def test_a_write_of_unknown_outcome_may_be_there_or_not():
    history = written(("create", 0, "ok"), ("update", 1, "unknown"))
    assert broken_promises(history, {"a": 0}) == broken_promises(history, {"a": 1}) == []
    assert broken_promises(history, {"a": None}) == ["a is None at the end, it must be one of [0, 1]"]


def test_a_stale_read_after_an_acknowledgement_is_told():
    history = written(("create", 0, "ok"), ("update", 1, "ok"), ("read", 0, "ok"))
    assert broken_promises(history, {"a": 1}) == ["a was read as 0, it must be one of [1]"]


def triggered(*outcomes):
    return [Operation("trigger", "by-hand", f"run-{number}", outcome) for number, outcome in enumerate(outcomes)]


def test_an_acknowledged_trigger_has_to_run():
    assert broken_triggers(triggered("ok"), {"run-0": "succeeded"}, [arrival(0)]) == []
    assert broken_triggers(triggered("ok"), {}, []) == ["trigger run-0 was acknowledged and is not in the ledger"]
    assert broken_triggers(triggered("ok"), {"run-0": "succeeded"}, []) != []
    assert broken_triggers(triggered("ok"), {"run-0": "pending"}, [arrival(0)]) != []


def test_a_run_by_hand_that_nobody_asked_for_is_told():
    twice = {"run-0": "succeeded", "again": "succeeded"}
    assert broken_triggers(triggered("ok"), twice, [arrival(0)]) != []
    assert broken_triggers(triggered("ok", "unknown"), twice, [arrival(0)]) == []
