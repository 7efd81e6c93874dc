"""One campaign: load, faults drawn from a seed, calm, and the judgement of everything that was seen."""

import json
import random
import sqlite3
import time
import uuid
from collections import Counter
from contextlib import closing
from datetime import datetime

import requests

from bench.ledger import Due, Span, check, is_settled, read_jobs, read_rows, replicas_agree
from tests.cluster.checker import (
    begun_late,
    broken_promises,
    broken_triggers,
    match_targets,
    overlaps,
    unexplained_repeats,
)
from tests.cluster.client import Writer
from tests.cluster.history import Allowance, Fault, Target
from tests.cluster.nemeses import NEMESES
from tests.cluster.network import NotPermitted
from tests.support.processes import wait_for

_PERIOD_MS = 1_000
_STEADY_JOBS = 5
_HOLD_MS = 700
_WRITERS = 2
_SETTLE_S = 90
_REST_S = (0.1, 0.5)
_ALLOWANCE = Allowance()


class Campaign:
    """Runs on a lab; `say` prints a line of the transcript."""

    def __init__(self, lab, seed, say):
        self.lab = lab
        self.say = say
        self.faults = []
        self._chance = random.Random(seed)
        self._begun = time.monotonic()
        self._base = f"http://127.0.0.1:{lab.api_port}"

    def skipped(self, kinds):
        """Those of `kinds` that this machine does not permit."""
        return [kind for kind in kinds if NEMESES[kind].needs_network and self.lab.network is None]

    def run(self, kinds, seconds, kills=None):
        """Inject for so many seconds, at most until the leader was killed so often; returns the figures."""
        for sentence in self.lab.lacking:
            self._tell(f"NOT PERMITTED HERE: {sentence}")
        skipped = self.skipped(kinds)
        possible = [kind for kind in kinds if kind not in skipped]
        if not possible:
            raise NotPermitted(f"of {', '.join(kinds)} nothing can be done here")
        wait_for(self._has_api, "the API to answer", timeout_s=60)
        targets = self._load()
        writers = self._writers()
        try:
            self._inject(possible, seconds, kills)
        finally:
            for writer in writers:
                writer.finish()
        until = self._stop_schedules(targets)
        owed = [target._replace(until=until) for target in targets.values()]
        figures = self._judge(owed, targets["held"].job_id, writers)
        figures["not_permitted_here"] = skipped
        return figures

    def _tell(self, sentence):
        self.say(f"{time.monotonic() - self._begun:8.2f}  {sentence}")

    # -- load ---------------------------------------------------------------------------------------------

    def _has_api(self):
        try:
            return requests.get(f"{self._base}/health/live", timeout=2).ok
        except requests.RequestException:
            return False

    def _create(self, name, path="", schedule="* * * * * *", concurrency="allow"):
        job = {
            "name": name,
            "schedule": schedule,
            "concurrency": concurrency,
            "webhook": {"url": self.lab.sink.url + path},
            "retention": {"max_count": 1_000_000},
        }
        answer = requests.post(f"{self._base}/api/v1/jobs", json=job, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def _load(self):
        created = {f"steady-{number}": self._create(f"steady-{number}") for number in range(_STEADY_JOBS)}
        created["held"] = self._create("held", f"?ms={_HOLD_MS}", concurrency="forbid")
        self._by_hand = self._create("by-hand", schedule=None)["id"]
        return {
            name: Target(job["id"], _instant_ms(job["next_fire_time"]), 0, _PERIOD_MS)
            for name, job in created.items()
        }

    def _writers(self):
        chances = [random.Random(self._chance.random()) for _ in range(_WRITERS)]
        writers = [
            Writer(number, self._base, self.lab.sink.url, self._by_hand, chance)
            for number, chance in enumerate(chances, 1)
        ]
        for writer in writers:
            writer.start()
        return writers

    # -- faults -------------------------------------------------------------------------------------------

    def _inject(self, kinds, seconds, kills):
        deadline = time.monotonic() + seconds
        left = list(kinds)
        while kills is None or self._count("kill") < kills:
            if time.monotonic() > deadline and not left:
                break
            # each kind once, in an order that is drawn; then whatever is drawn
            kind = left.pop(self._chance.randrange(len(left))) if left else self._chance.choice(kinds)
            self._strike(kind)

    def _count(self, kind):
        return sum(fault.kind == kind for fault in self.faults)

    def _strike(self, kind):
        nemesis = NEMESES[kind](self.lab, self._chance)
        begin_ms = _now_ms()
        struck = nemesis.begin()
        lasts_s = self._chance.uniform(*nemesis.lasts_s)
        time.sleep(lasts_s)
        nemesis.heal()
        leader = self.lab.ready()
        self.faults.append(Fault(kind, begin_ms, _now_ms()))
        took_s = (self.faults[-1].end_ms - begin_ms) / 1_000
        self._tell(
            f"{kind} {self._count(kind)}: {struck}; {lasts_s:.1f} s; all at work under {leader} after {took_s:.1f} s"
        )
        time.sleep(self._chance.uniform(*_REST_S))

    # -- judgement ----------------------------------------------------------------------------------------

    def _stop_schedules(self, targets):
        """What fell due before this moment is owed."""
        until = _now_ms() // _PERIOD_MS * _PERIOD_MS
        for target in targets.values():
            disable = f"{self._base}/api/v1/jobs/{target.job_id}/disable"
            wait_for(lambda url=disable: requests.post(url, timeout=30).ok, "a job to be disabled", timeout_s=60)
        for database in self.lab.databases:
            wait_for(lambda at=database: is_settled(at, until), f"{database} to settle", timeout_s=_SETTLE_S)
        return until

    def _judge(self, owed, held, writers):
        database = self.lab.databases[0]
        arrivals = list(self.lab.sink.arrivals)
        span = Span(min(target.first for target in owed), owed[0].until)
        seqs = [job.seq for name in ("steady-", "held") for job in read_jobs(database, name)]
        due = [Due(seq, target.first, target.until, target.step_ms) for seq, target in zip(seqs, owed, strict=True)]
        scheduled = {target.job_id for target in owed}
        counted = Counter(
            uuid.UUID(each.execution_id).bytes
            for each in arrivals
            if each.job_id in scheduled and span.first <= each.fire_time < span.until
        )
        rows = list(read_rows(database, span))
        ledger = check(due, rows, counted)
        attempts, lost, by_hand = _read_attempts(database)
        recorded = {target.job_id: _explained(rows, item) for target, item in zip(owed, due, strict=True)}
        matchings = [
            match_targets(target, arrivals, self.faults, _ALLOWANCE, recorded[target.job_id]) for target in owed
        ]
        operations = [operation for writer in writers for operation in writer.operations]
        final = {name: value for writer in writers for name, value in writer.final().items()}
        complaints = {
            "missed": [time for matching in matchings for time in matching.missed],
            "extra": [time for matching in matchings for time in matching.extra],
            "ledger": ledger.problems,
            "repeats_without_cause": unexplained_repeats(arrivals, attempts),
            "begun_late": begun_late(arrivals, [fault for fault in self.faults if fault.kind == "pause"]),
            "forbid_overlaps": overlaps([each for each in arrivals if each.job_id == held], lost),
            "broken_promises": broken_promises(operations, final),
            "broken_triggers": broken_triggers(operations, by_hand, arrivals),
            "replicas_differ": []
            if replicas_agree(self.lab.databases, span)
            else ["the replicas' executions differ"],
        }
        lags = [lag for matching in matchings for lag in matching.lags_ms]
        return {
            "seconds": round(time.monotonic() - self._begun),
            "faults": dict(Counter(fault.kind for fault in self.faults)),
            "longest_fault_s": max((fault.end_ms - fault.begin_ms for fault in self.faults), default=0) / 1_000,
            "windows": len(lags) + len(complaints["missed"]),
            "matched": len(lags),
            "explained_skips_forbid": len(recorded[held]),
            "explained_skips_allow": sum(len(times) for job, times in recorded.items() if job != held),
            "lag_p50_ms": sorted(lags)[len(lags) // 2] if lags else None,
            "lag_max_ms": max(lags, default=None),
            "requests_at_sink": len(arrivals),
            "repeated_requests": len(arrivals) - len({each.execution_id for each in arrivals}),
            "attempts_lost": len(lost),
            "operations": dict(sorted(Counter(f"{each.kind} {each.outcome}" for each in operations).items())),
            "complaints": {name: found for name, found in complaints.items() if found},
        }


def _explained(rows, due):
    """The fire times of a job that a skipped row stands for."""
    times = set()
    for row in rows:
        if row.job_seq == due.job_seq and row.skipped is not None:
            times |= set(range(row.skipped[0], row.skipped[1] + 1, due.step_ms))
    return times & set(range(due.first, due.until, due.step_ms))


def _read_attempts(database):
    """From a replica: attempts of each execution, the (execution, number) lost, the status of those by hand."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        attempts, by_hand = {}, {}
        for raw, number, status, cause in connection.execute("SELECT id, attempt, status, cause FROM executions"):
            name = str(uuid.UUID(bytes=raw))
            attempts[name] = number
            if cause == "manual":
                by_hand[name] = status
        found = connection.execute(
            "SELECT e.id, a.number FROM attempts a JOIN executions e ON e.seq = a.execution_seq "
            "WHERE a.status = 'lost'"
        )
        return attempts, {(str(uuid.UUID(bytes=raw)), number) for raw, number in found}, by_hand


def _now_ms():
    return time.time_ns() // 1_000_000


def _instant_ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def told(figures):
    """The figures, as they are printed and kept."""
    return json.dumps(figures, indent=2)
