"""Fires, starts, results and lost nodes: every rule of the ledger, one sentence each."""

import msgspec
import pytest

from chronos_common import ids
from chronos_common.commands import (
    CancelExecution,
    Claim,
    Fire,
    FireItem,
    ReleaseNode,
    ReplayExecution,
    Run,
    Skip,
    Start,
    StartAttempts,
    TriggerJob,
    UpdateJob,
)
from chronos_common.models import (
    AttemptStatus,
    ConcurrencyPolicy,
    ExecutionStatus,
    Skipped,
    SkipReason,
)
from chronos_worker.state_machine.effects import Aborted, Assigned, Recorded
from chronos_worker.state_machine.transitions import MAX_LOST

from .conftest import ME, MINUTE, OTHER, retrying


def only(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def statuses(ledger):
    return [item.status.value for item in ledger.executions()]


def test_a_due_job_is_assigned_to_the_claimed_life_and_moves_on(ledger):
    job = ledger.create()
    (assigned,) = only(ledger.fire(job, MINUTE), Assigned)
    assert (assigned.number, assigned.fire_time) == (1, MINUTE)
    assert ledger.job(job.id).next_fire_time == 2 * MINUTE
    assert ledger.job(job.id).last_fire_time == MINUTE
    assert ledger.machine.running["n1"] == 1


def test_a_claim_of_another_node_is_not_our_effect_but_the_same_row(ledger):
    job = ledger.create()
    assert only(ledger.fire(job, MINUTE, claim=OTHER), Assigned) == []
    assert ledger.executions()[0].attempts[0].node_id == "n2"


def test_the_same_fire_again_changes_nothing(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    assert only(ledger.fire(job, MINUTE), Assigned) == []
    assert statuses(ledger) == ["running"]


def test_a_fire_planned_on_an_older_version_changes_nothing(ledger):
    job = ledger.create()
    assert only(ledger.fire(job, MINUTE, version=2), Assigned) == []
    assert statuses(ledger) == []


def test_what_was_answered_is_not_answered_again_after_a_change_by_a_clock_that_is_behind(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW)
    ledger.fire(job, MINUTE)
    ledger.fire(job, 2 * MINUTE, next_fire_time=5 * MINUTE)
    spec = msgspec.structs.replace(job.spec, schedule="@every 90s")
    ledger.request(UpdateJob(job.id, spec, next_fire_time=MINUTE))
    assert only(ledger.fire(job, MINUTE, version=2), Assigned) == []
    assert only(ledger.fire(job, 2 * MINUTE, version=2), Assigned) == []
    assert statuses(ledger) == ["running", "running"]
    assert ledger.job(job.id).last_fire_time == 2 * MINUTE
    assert [item.fire_time for item in only(ledger.fire(job, 3 * MINUTE, version=2), Assigned)] == [3 * MINUTE]


def test_a_stretch_that_ends_before_what_was_answered_gets_no_second_row(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW)
    ledger.fire(job, MINUTE, next_fire_time=9 * MINUTE)
    ledger.request(UpdateJob(job.id, msgspec.structs.replace(job.spec, schedule="@every 30s"), next_fire_time=30_000))
    raw_id = ids.from_text(job.id)
    stretch = Skipped(SkipReason.COALESCED, 30_000, MINUTE, 2)
    skips = (Skip(ids.occurrence_id(raw_id, MINUTE), stretch),)
    runs = (Run(ids.occurrence_id(raw_id, 90_000), 90_000, 0),)
    ledger.apply(Fire(95_000, (ME,), (FireItem(ledger.seq_of(job), 2, 30_000, 2 * MINUTE, runs, skips),)))
    assert statuses(ledger) == ["running", "running"]
    assert ledger.job(job.id).last_fire_time == 90_000


def test_an_entry_applied_before_is_passed_over(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    ledger.index -= 1
    assert ledger.fire(job, 2 * MINUTE) == []
    assert statuses(ledger) == ["running"]


def test_a_claim_of_a_life_that_is_not_live_leaves_the_execution_pending(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE, claim=Claim("n1", 7))
    assert statuses(ledger) == ["pending"]


def test_forbid_writes_a_skipped_row_while_an_earlier_one_is_active(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.FORBID)
    ledger.fire(job, MINUTE)
    ledger.fire(job, 2 * MINUTE)
    assert statuses(ledger) == ["running", "skipped"]
    assert ledger.executions()[1].skipped.reason is SkipReason.OVERLAP


def test_forbid_holds_while_a_retry_is_waiting(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.FORBID)
    ledger.fire(job, MINUTE)
    ledger.record(1, 1, AttemptStatus.FAILED, retry_at=5 * MINUTE)
    ledger.fire(job, 2 * MINUTE)
    assert statuses(ledger) == ["pending", "skipped"]


def test_allow_runs_both(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW)
    ledger.fire(job, MINUTE)
    ledger.fire(job, 2 * MINUTE)
    assert statuses(ledger) == ["running", "running"]


def test_replace_ends_the_old_run_for_real_and_starts_the_new_one(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.REPLACE)
    ledger.fire(job, MINUTE)
    effects = ledger.fire(job, 2 * MINUTE)
    assert only(effects, Aborted) == [Aborted(1, 1)]
    assert [item.execution_seq for item in only(effects, Assigned)] == [2]
    assert statuses(ledger) == ["cancelled", "running"]
    assert ledger.machine.running["n1"] == 1


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ConcurrencyPolicy.ALLOW, ["running", "running", "running"]),
        (ConcurrencyPolicy.FORBID, ["running", "skipped", "skipped"]),
        (ConcurrencyPolicy.REPLACE, ["cancelled", "cancelled", "running"]),
    ],
)
def test_runs_caught_up_in_one_command_obey_the_policy_among_themselves(ledger, policy, expected):
    job = ledger.create(concurrency=policy)
    times = (MINUTE, 2 * MINUTE, 3 * MINUTE)
    runs = tuple(Run(ids.occurrence_id(ids.from_text(job.id), time), time, 0) for time in times)
    ledger.apply(Fire(4 * MINUTE, (ME,), (FireItem(1, 1, MINUTE, 4 * MINUTE, runs),)))
    assert statuses(ledger) == expected


def test_a_skipped_stretch_is_one_row_with_its_reason_and_count(ledger):
    job = ledger.create()
    skipped = Skipped(SkipReason.MISFIRE, MINUTE, 9 * MINUTE, 9)
    skip = Skip(ids.occurrence_id(ids.from_text(job.id), 9 * MINUTE), skipped)
    ledger.apply(Fire(10 * MINUTE, (), (FireItem(1, 1, MINUTE, 11 * MINUTE, (), (skip,)),)))
    (row,) = ledger.executions()
    assert row.skipped == skipped
    assert row.reason
    assert ledger.counts().skipped == {"misfire": 9}


def test_a_success_ends_the_execution_and_frees_the_seat(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    assert only(ledger.record(1, 1), Recorded) == [Recorded(1, 1)]
    assert statuses(ledger) == ["succeeded"]
    assert ledger.machine.running["n1"] == 0
    assert ledger.counts().executions == {"succeeded": 1}


def test_a_repeated_result_changes_nothing_but_is_seen(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    ledger.record(1, 1)
    assert only(ledger.record(1, 1, AttemptStatus.FAILED), Recorded) == [Recorded(1, 1)]
    assert statuses(ledger) == ["succeeded"]
    assert ledger.counts().executions == {"succeeded": 1}


def test_a_result_of_another_life_changes_nothing(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    ledger.record(1, 1, claim=OTHER)
    assert statuses(ledger) == ["running"]


def test_a_failure_with_budget_left_is_pending_until_its_time_and_keeps_its_history(ledger):
    job = ledger.create(retry_policy=retrying(2))
    ledger.fire(job, MINUTE)
    ledger.record(1, 1, AttemptStatus.FAILED, retry_at=90_000)
    (execution,) = ledger.executions()
    assert (execution.status, execution.due_at) == (ExecutionStatus.PENDING, 90_000)
    ledger.apply(StartAttempts(90_000, (OTHER,), (Start(1, 2, 0),)))
    ledger.record(1, 2, AttemptStatus.TIMED_OUT, claim=OTHER, retry_at=120_000)
    (execution,) = ledger.executions()
    assert execution.status is ExecutionStatus.FAILED
    assert [(a.number, a.status.value, a.node_id) for a in execution.attempts] == [
        (1, "failed", "n1"),
        (2, "timed_out", "n2"),
    ]
    assert execution.reason == "why"


def test_a_failure_that_repeating_cannot_help_ends_at_once(ledger):
    job = ledger.create(retry_policy=retrying(5))
    ledger.fire(job, MINUTE)
    ledger.record(1, 1, AttemptStatus.FAILED, retry_at=None)
    assert statuses(ledger) == ["failed"]


def test_a_start_must_follow_the_last_attempt(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE, claim=None)
    for number in (0, 2, 3):
        assert only(ledger.apply(StartAttempts(1, (ME,), (Start(1, number, 0),))), Assigned) == []
    assert len(only(ledger.apply(StartAttempts(1, (ME,), (Start(1, 1, 0),))), Assigned)) == 1
    assert only(ledger.apply(StartAttempts(1, (ME,), (Start(1, 1, 0),))), Assigned) == []


def test_a_lost_node_gives_its_executions_back_without_spending_their_budget(ledger):
    job = ledger.create(retry_policy=retrying(1))
    ledger.fire(job, MINUTE, claim=OTHER)
    ledger.apply(ReleaseNode(70_000, OTHER, "lost"))
    (execution,) = ledger.executions()
    assert (execution.status, execution.due_at, execution.lost_count) == (ExecutionStatus.PENDING, 70_000, 1)
    ledger.apply(StartAttempts(70_000, (ME,), (Start(1, 2, 0),)))
    ledger.record(1, 2)
    assert statuses(ledger) == ["succeeded"]
    assert [a.status.value for a in ledger.executions()[0].attempts] == ["lost", "succeeded"]


def test_losing_again_and_again_is_bounded(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    number = 1
    while ledger.executions()[0].status is not ExecutionStatus.FAILED:
        ledger.record(1, number, AttemptStatus.LOST)
        number += 1
        ledger.apply(StartAttempts(1, (ME,), (Start(1, number, 0),)))
    assert number == MAX_LOST + 2
    assert "lost" in ledger.executions()[0].reason


def test_our_own_life_declared_lost_aborts_what_runs_here(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    assert only(ledger.apply(ReleaseNode(70_000, ME, "lost")), Aborted) == [Aborted(1, 1)]


def test_a_new_life_loses_what_the_old_one_ran(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE, claim=OTHER)
    ledger.announce(Claim("n2", 2))
    assert statuses(ledger) == ["pending"]
    assert ledger.machine.running["n2"] == 0


def test_an_announcement_of_an_old_life_changes_nothing(ledger):
    job = ledger.create()
    ledger.announce(Claim("n2", 5))
    ledger.fire(job, MINUTE, claim=Claim("n2", 5))
    ledger.announce(Claim("n2", 4))
    assert statuses(ledger) == ["running"]


def test_a_draining_node_keeps_its_runs_and_gets_no_new_ones(ledger):
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW)
    ledger.fire(job, MINUTE)
    ledger.apply(ReleaseNode(70_000, ME, "draining"))
    ledger.fire(job, 2 * MINUTE)
    assert statuses(ledger) == ["running", "pending"]


def test_a_trigger_works_on_a_disabled_job_and_carries_its_payload(ledger):
    job = ledger.create(enabled=False, next_fire_time=None)
    outcome = ledger.request(TriggerJob(job.id, {"a": 1}, True, ledger.new_id()))
    assert outcome.answer.execution.status is ExecutionStatus.PENDING
    (assigned,) = only(ledger.apply(StartAttempts(1, (ME,), (Start(1, 1, 0),))), Assigned)
    assert assigned.extra is not None


def test_a_trigger_obeys_forbid_with_a_row_that_says_so(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    outcome = ledger.request(TriggerJob(job.id, execution_id=ledger.new_id(MINUTE)))
    assert outcome.answer.execution.status is ExecutionStatus.SKIPPED


def test_a_replay_runs_the_version_and_payload_of_its_source(ledger):
    job = ledger.create()
    source = ledger.request(TriggerJob(job.id, [1, 2], True, ledger.new_id())).answer.execution
    ledger.apply(StartAttempts(1, (ME,), (Start(1, 1, 0),)))
    ledger.record(1, 1)
    replay = ledger.request(
        ReplayExecution(ids.from_text(source.id), ledger.new_id(2_000)), at=2_000
    ).answer.execution
    assert (replay.replay_of, replay.payload, replay.job_version) == (source.id, [1, 2], 1)


def test_cancelling_aborts_the_request_and_a_late_result_is_ignored(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    (execution,) = ledger.executions()
    outcome = ledger.request(CancelExecution(ids.from_text(execution.id)))
    assert outcome.answer.execution.status is ExecutionStatus.CANCELLED
    ledger.record(1, 1)
    assert statuses(ledger) == ["cancelled"]
    assert ledger.request(CancelExecution(ids.from_text(execution.id))).answer.code == "conflict"
