"""Answering due occurrences: what runs, what the ledger says did not, and when the job is due next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from chronos_common import ids
from chronos_common.commands import Fire, FireItem, Run, Skip
from chronos_common.models import MisfirePolicy, Skipped, SkipReason
from chronos_common.schedules import Schedule, parse_schedule
from chronos_worker.planner.inputs import DueJob
from chronos_worker.planner.seats import Seats

MAX_COUNTED: Final = 10_000
"""Missed occurrences are counted one by one up to here; beyond it the row says `at_least`."""
MAX_RUNS: Final = 2_000
"""A command is full with this many runs."""
MAX_CAUGHT_UP: Final = 1_000
"""Most runs one job may start in one command, whatever its cap: the rest follow in the next."""


class Answer(NamedTuple):
    """How one job's due occurrences are answered."""

    run_times: tuple[int, ...]
    skips: tuple[Skipped, ...]
    next_fire_time: int | None


class Leap(NamedTuple):
    """The instants after `before`, up to and including `after`, over which the wall clock was moved forward.

    Moved back, it leapt over none: `after` lies before `before`.
    """

    before: int
    after: int

    def __contains__(self, instant: object) -> bool:
        return isinstance(instant, int) and self.before < instant <= self.after


NOTHING_LEAPT: Final = Leap(0, 0)


def plan_fires(due: Sequence[DueJob], now: int, seats: Seats, leap: Leap = NOTHING_LEAPT) -> Fire | None:
    """One command that answers the due jobs, in order, until it is full; None if there is none.

    `leap` is the last one of the planner's own clock.
    """
    items: list[FireItem] = []
    runs = 0
    for job in due:
        item = _item(job, now, seats, leap)
        items.append(item)
        runs += len(item.runs)
        if runs >= MAX_RUNS:
            break
    return Fire(now, seats.claims, tuple(items)) if items else None


def _item(job: DueJob, now: int, seats: Seats, leap: Leap) -> FireItem:
    schedule = parse_schedule(job.schedule, job.timezone)
    answer = answer_due(job, schedule, now, leap)
    return FireItem(
        job.seq,
        job.version,
        job.next_fire_time,
        answer.next_fire_time,
        tuple(Run(ids.occurrence_id(job.raw_id, time), time, seats.take()) for time in answer.run_times),
        tuple(Skip(ids.occurrence_id(job.raw_id, skip.last_fire_time), skip) for skip in answer.skips),
    )


def answer_due(job: DueJob, schedule: Schedule, now: int, leap: Leap = NOTHING_LEAPT) -> Answer:
    """How the occurrences of `job` from its next fire time up to `now` are answered.

    An occurrence within its grace simply runs, and so do its punctual successors, one a command. An
    older one makes the whole stretch up to `now` a misfire, answered by the job's policy. What the clock leapt
    over was not missed: where the policy is to skip what is late, the last of it runs and stands for the rest.
    """
    first = job.next_fire_time
    following = schedule.next_after(first, job.created_at)
    if now - first <= job.misfire.grace_ms:
        return Answer((first,), (), following)
    last = first
    if following is not None and following <= now:
        last = schedule.last_at_or_before(now, job.created_at) or first
    if job.misfire.policy is MisfirePolicy.SKIP and first not in leap:
        return _skip(job, schedule, first, last)
    if job.misfire.policy is not MisfirePolicy.FIRE_ALL:
        return _fire_once(job, schedule, first, last)
    return _fire_all(job, schedule, first, last, now)


def _skip(job: DueJob, schedule: Schedule, first: int, last: int) -> Answer:
    stretch = _stretch(job, schedule, SkipReason.MISFIRE, first, last)
    return Answer((), (stretch,), schedule.next_after(last, job.created_at))


def _fire_once(job: DueJob, schedule: Schedule, first: int, last: int) -> Answer:
    """The last missed occurrence runs and stands for all before it."""
    following = schedule.next_after(last, job.created_at)
    if first == last:
        return Answer((last,), (), following)
    before_last = schedule.last_at_or_before(last - 1, job.created_at) or first
    stretch = _stretch(job, schedule, SkipReason.COALESCED, first, before_last)
    return Answer((last,), (stretch,), following)


def _fire_all(job: DueJob, schedule: Schedule, first: int, last: int, now: int) -> Answer:
    """Every missed occurrence inside the window runs, the newest `cap` of them; older ones are recorded."""
    cap = min(job.misfire.cap, MAX_CAUGHT_UP)
    newest: list[int] = []
    time: int | None = last
    while time is not None and time >= first and time >= now - job.misfire.window_ms and len(newest) < cap:
        newest.append(time)
        time = schedule.last_at_or_before(time - 1, job.created_at)
    following = schedule.next_after(last, job.created_at)
    if time is None or time < first:
        return Answer(tuple(reversed(newest)), (), following)
    stretch = _stretch(job, schedule, SkipReason.CATCH_UP_LIMIT, first, time)
    return Answer(tuple(reversed(newest)), (stretch,), following)


def _stretch(job: DueJob, schedule: Schedule, reason: SkipReason, first: int, last: int) -> Skipped:
    count = 1 + schedule.count_between(first, last, job.created_at, MAX_COUNTED)
    return Skipped(reason, first, last, count, at_least=count > MAX_COUNTED)
