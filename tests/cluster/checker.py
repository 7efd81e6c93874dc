"""Judges a campaign by what was seen from outside. Pure: every function takes observations and returns complaints.

Windows are matched with runs as in Jepsen's test of Chronos, a scheduler on Mesos, of 2015: a job's target windows
against the times at which its runs began, each run for one window at most. Windows open in the order in which they
close, so taking for each run the open window that closes first is a maximum matching (Glover 1967).
"""

import heapq
from collections import Counter, defaultdict
from typing import NamedTuple


class Matching(NamedTuple):
    """`lags_ms`: of each matched run behind its window's beginning; the rest of each side are misses and extras."""

    lags_ms: list
    missed: list
    extra: list


def deadline(fire_time, faults, allowance):
    """Until when the run of a fire time has to begin. A fault counts if it lies within the calm allowance.

    Faults do not add up: one that begins only after that excuses nothing.
    """
    calm_until = fire_time + allowance.calm_ms
    near = [fault.end_ms for fault in faults if fault.begin_ms <= calm_until and fault.end_ms >= fire_time]
    return max([calm_until, *(end + allowance.after_fault_ms for end in near)])


def match(windows, begun):
    """Match windows (opens, closes) with the times at which runs began, as many as can be."""
    windows = sorted(windows)
    lags, missed, extra, opened, at = [], [], [], [], 0
    for time in sorted(begun):
        while at < len(windows) and windows[at][0] <= time:
            opens, closes = windows[at]
            heapq.heappush(opened, (closes, opens))
            at += 1
        while opened and opened[0][0] < time:
            missed.append(heapq.heappop(opened)[1])
        if opened:
            lags.append(time - heapq.heappop(opened)[1])
        else:
            extra.append(time)
    return Matching(lags, sorted([*missed, *(opens for _, opens in opened), *(w[0] for w in windows[at:])]), extra)


def run_times(arrivals):
    """When each execution first arrived, by its id: what came later under the same id is a repeat, not a run."""
    first = {}
    for arrival in arrivals:
        first[arrival.execution_id] = min(arrival.at_ms, first.get(arrival.execution_id, arrival.at_ms))
    return first


def match_targets(target, arrivals, faults, allowance, recorded=frozenset()):
    """Match what a job owes with what arrived. `recorded`: fire times that the ledger says why it did not run."""
    owed = [time for time in range(target.first, target.until, target.step_ms) if time not in recorded]
    windows = [(time, deadline(time, faults, allowance)) for time in owed]
    mine = [
        each for each in arrivals if each.job_id == target.job_id and target.first <= each.fire_time < target.until
    ]
    return match(windows, run_times(mine).values())


def unexplained_repeats(arrivals, attempts):
    """Executions that arrived more often than the ledger has attempts, or twice as the same attempt."""
    seen = defaultdict(list)
    for arrival in arrivals:
        seen[arrival.execution_id].append(arrival.attempt)
    complaints = []
    for execution, numbers in seen.items():
        if execution not in attempts:
            complaints.append(f"{execution} arrived and is not in the ledger")
        elif len(numbers) > len(set(numbers)):
            complaints.append(f"{execution} arrived twice as one attempt: {sorted(numbers)}")
        elif max(numbers) > attempts[execution]:
            complaints.append(f"{execution} arrived as attempt {max(numbers)} of {attempts[execution]}")
    return complaints


def begun_late(arrivals, faults):
    """Attempts that arrived after a later attempt of their execution: their node came back and knew no better.

    `faults` in which senders were stopped with their worker excuse it: what they had in hand goes out afterwards.
    """
    latest, complaints = {}, []
    for each in sorted(arrivals, key=lambda each: each.at_ms):
        known = latest.setdefault(each.execution_id, each)
        if each.attempt > known.attempt:
            latest[each.execution_id] = each
        elif each.attempt < known.attempt and not any(
            fault.begin_ms <= each.at_ms <= fault.end_ms for fault in faults
        ):
            complaints.append(
                f"{each.execution_id} arrived as attempt {each.attempt} at {each.at_ms}, "
                f"after attempt {known.attempt} at {known.at_ms}"
            )
    return complaints


def overlaps(arrivals, lost):
    """Runs of one `forbid` job that were open at the same time, unless the earlier was on a node declared lost.

    `lost`: the (execution id, attempt) that the ledger has as lost. Attempts of one execution count too.
    """
    jobs = defaultdict(list)
    for arrival in arrivals:
        jobs[arrival.job_id].append(arrival)
    complaints = []
    for mine in jobs.values():
        mine.sort(key=lambda each: (each.at_ms, each.answered_ms))
        latest = None
        for each in mine:
            if latest is not None and each.at_ms < latest.answered_ms:
                complaints.append(
                    f"{each.execution_id} began at {each.at_ms} while {latest.execution_id} ran until "
                    f"{latest.answered_ms}"
                )
            is_lost = (each.execution_id, each.attempt) in lost
            if not is_lost and (latest is None or each.answered_ms > latest.answered_ms):
                latest = each
    return complaints


def broken_promises(operations, final):
    """Acknowledged writes that are not there at the end, and reads that showed what cannot have been.

    `final`: the revision of each job at the end. A job has one writer, so what it may be is known at each moment.
    """
    possible = defaultdict(lambda: {None})
    complaints = []
    for kind, job, value, outcome in operations:
        if kind == "trigger" or outcome == "fail":
            continue
        if kind == "read":
            if outcome == "ok" and value not in possible[job]:
                complaints.append(f"{job} was read as {value}, it must be one of {_told(possible[job])}")
            continue
        after = None if kind == "delete" else value
        possible[job] = {after} if outcome == "ok" else possible[job] | {after}
    complaints += [
        f"{job} is {final.get(job)} at the end, it must be one of {_told(states)}"
        for job, states in possible.items()
        if final.get(job) not in states
    ]
    return complaints


def broken_triggers(operations, executions, arrivals):
    """Acknowledged triggers that never ran, and runs by hand that nobody asked for.

    `executions`: the status of each execution by hand in the ledger.
    """
    triggers = [operation for operation in operations if operation.kind == "trigger"]
    acknowledged = {operation.value for operation in triggers if operation.outcome == "ok"}
    unknown = sum(operation.outcome == "unknown" for operation in triggers)
    arrived = Counter(arrival.execution_id for arrival in arrivals)
    complaints = [
        f"trigger {each} was acknowledged and is not in the ledger" for each in acknowledged - set(executions)
    ]
    complaints += [
        f"trigger {each} is {executions[each]} and arrived {arrived[each]} time(s)"
        for each in acknowledged & set(executions)
        if executions[each] not in ("succeeded", "failed") or not arrived[each]
    ]
    surplus = len(set(executions) - acknowledged)
    if surplus > unknown:
        complaints.append(
            f"{surplus} run(s) by hand beside those acknowledged, and only {unknown} of unknown outcome"
        )
    return complaints


def _told(states):
    return sorted(states, key=lambda state: (state is not None, state))
