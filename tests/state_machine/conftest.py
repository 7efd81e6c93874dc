"""A state machine on a real SQLite file, driven command by command."""

import itertools

import pytest

from chronos_common import ids
from chronos_common.commands import (
    AnnounceNode,
    Claim,
    ClientRequest,
    CreateJob,
    Fire,
    FireItem,
    RecordResults,
    Response,
    Result,
    Run,
    encode_entry,
)
from chronos_common.models import (
    AttemptStatus,
    HttpTarget,
    JobSpec,
    NodeInfo,
    NodeState,
    RetryPolicy,
)
from chronos_common.protocol import JobFilter, ListExecutions, ListJobs
from chronos_worker.state_machine.effects import Answered
from chronos_worker.state_machine.machine import Entry, StateMachine
from chronos_worker.store import execution_queries, job_queries
from chronos_worker.store.database import Database

ME = Claim("n1", 1)
OTHER = Claim("n2", 1)
MINUTE = 60_000


class Ledger:
    """Applies commands one entry at a time and reads back what they did."""

    def __init__(self, path):
        self.database = Database(path)
        self.machine = StateMachine(self.database)
        self.machine.me = ME
        self.index = 0
        self._ids = itertools.count(1)

    def apply(self, *commands):
        self.index += 1
        return self.machine.apply([Entry(self.index, 1, encode_entry(list(commands)))])

    def request(self, change, *, key=None, at=1_000, fingerprint=b"f"):
        key = key or f"request-{next(self._ids)}"
        effects = self.apply(ClientRequest(key, fingerprint, "tester", at, change))
        return next(effect.outcome for effect in effects if isinstance(effect, Answered))

    def new_id(self, at=1_000):
        return ids.minted_id(at, lambda _bits: next(self._ids))

    def announce(self, claim, at=1_000):
        return self.apply(
            AnnounceNode(at, NodeInfo(claim.node_id, claim.incarnation, NodeState.LIVE, "http://c", 100))
        )

    def create(self, name="job", *, next_fire_time=MINUTE, **spec):
        spec = JobSpec(name=name, target=HttpTarget(url="http://target/"), **spec)
        job_id = ids.to_text(self.new_id())
        return self.request(CreateJob(spec, job_id, next_fire_time)).answer.job

    def fire(self, job, fire_time, *, claim=ME, next_fire_time=None, at=None, version=None, job_seq=None):
        run = Run(ids.occurrence_id(ids.from_text(job.id), fire_time), fire_time, None if claim is None else 0)
        item = FireItem(
            job_seq or self.seq_of(job),
            version or job.version,
            fire_time,
            next_fire_time or fire_time + MINUTE,
            (run,),
        )
        claims = () if claim is None else (claim,)
        return self.apply(Fire(at or fire_time, claims, (item,)))

    def record(self, execution_seq, number, status=AttemptStatus.SUCCEEDED, *, claim=ME, retry_at=None):
        result = Result(execution_seq, number, status, 1, 2, retry_at, Response(error="why"))
        return self.apply(RecordResults(claim, (result,)))

    def seq_of(self, job):
        with self.database.read() as connection:
            return connection.exec_driver_sql(
                "SELECT seq FROM jobs WHERE id = ?", (ids.from_text(job.id),)
            ).scalar_one()

    def seq_of_execution(self, execution):
        with self.database.read() as connection:
            return connection.exec_driver_sql(
                "SELECT seq FROM executions WHERE id = ?", (ids.from_text(execution.id),)
            ).scalar_one()

    def executions(self, **read):
        with self.database.read() as connection:
            page = execution_queries.list_executions(connection, ListExecutions(descending=False, **read))
        return list(page.items)

    def jobs(self, **job_filter):
        with self.database.read() as connection:
            return list(job_queries.list_jobs(connection, ListJobs(JobFilter(**job_filter))).items)

    def job(self, job_id):
        with self.database.read() as connection:
            return job_queries.get_job(connection, job_id)

    def counts(self):
        with self.database.read() as connection:
            return execution_queries.get_counts(connection)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "chronos.sqlite3")
    ledger.announce(ME)
    ledger.announce(OTHER)
    yield ledger
    ledger.database.close()


def retrying(max_attempts):
    return RetryPolicy(max_attempts=max_attempts)
