"""What the ledger forgets, and what it never does."""

from chronos_common import ids
from chronos_common.commands import DeleteJob, Prune, TriggerJob
from chronos_common.models import AttemptStatus, ConcurrencyPolicy, Retention
from chronos_worker.leader import MOST_PRUNED_PER_STEP, OUTCOME_LIFETIME_MS, PRUNED_PER_STEP, Pruning

from .conftest import MINUTE

DAY = 86_400_000


def finished(ledger, count, **spec):
    """A job with `count` finished executions."""
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW, **spec)
    for number in range(count):
        ledger.fire(job, (number + 1) * MINUTE)
        (execution,) = [item for item in ledger.executions() if item.fire_time == (number + 1) * MINUTE]
        assert execution.status == "running"
        ledger.record(number + 1, 1)
    return job


def prune_until_done(ledger, now):
    pruning, steps, now_s = Pruning(ledger.database), 0, 0.0
    while commands := pruning.plan(now, now_s):
        ledger.apply(*commands)
        steps, now_s = steps + 1, now_s + 1.0
        assert steps < 100
    return steps


def test_executions_beyond_the_newest_few_are_forgotten(ledger):
    finished(ledger, 5, retention=Retention(max_count=2))
    assert prune_until_done(ledger, 10 * MINUTE) == 1
    assert [item.fire_time for item in ledger.executions()] == [4 * MINUTE, 5 * MINUTE]


def test_executions_over_age_are_forgotten_and_their_attempts_with_them(ledger):
    job = ledger.create(retention=Retention(max_age_ms=DAY))
    ledger.fire(job, MINUTE)
    ledger.record(1, 1, AttemptStatus.FAILED, retry_at=MINUTE)
    prune_until_done(ledger, 10 * DAY)
    assert ledger.executions()[0].status == "pending"  # it has not ended
    ledger.request(DeleteJob(job.id), at=2 * MINUTE)
    prune_until_done(ledger, 10 * DAY)
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM executions").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar() == 0


def test_what_is_active_is_never_forgotten(ledger):
    job = ledger.create()
    ledger.fire(job, MINUTE)
    ledger.apply(Prune(execution_seqs=(1,)))
    assert len(ledger.executions()) == 1


def test_a_deleted_job_is_purged_when_its_ledger_is(ledger):
    job = finished(ledger, 2)
    ledger.request(DeleteJob(job.id), at=3 * MINUTE)
    prune_until_done(ledger, 40 * DAY)
    prune_until_done(ledger, 40 * DAY)
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM job_versions").scalar() == 0


def test_a_purge_of_a_job_that_lives_changes_nothing(ledger):
    job = ledger.create()
    ledger.apply(Prune(job_seqs=(1,)))
    assert ledger.job(job.id) is not None


def test_outcomes_are_kept_for_a_day(ledger):
    job = ledger.create()
    change = TriggerJob(job.id, execution_id=ledger.new_id())
    ledger.request(change, key="k", at=1_000)
    prune_until_done(ledger, OUTCOME_LIFETIME_MS)
    assert ledger.request(change, key="k").repeated
    prune_until_done(ledger, OUTCOME_LIFETIME_MS + 2_000)
    again = TriggerJob(job.id, execution_id=ledger.new_id(5_000))
    assert not ledger.request(again, key="k", at=5_000).repeated


def test_a_step_is_bounded(ledger):
    long_ledger(ledger)
    pruning = Pruning(ledger.database)
    (command,) = pruning.plan(10_000, 0.0)
    assert len(command.execution_seqs) == PRUNED_PER_STEP
    assert pruning.plan(10_000, 0.01) == []  # not sooner than its pause
    assert prune_until_done(ledger, 10_000) == 24
    assert len(ledger.executions()) == 1


def test_a_step_forgets_as_many_more_as_came_since_the_step_before(ledger):
    long_ledger(ledger)
    pruning, forgotten = Pruning(ledger.database), []
    for now_s, came in enumerate((7, 300, 5_000, 0)):
        (command,) = pruning.plan(10_000, float(now_s))
        ledger.apply(command)
        forgotten.append(len(command.execution_seqs))
        with ledger.database.write() as connection:
            connection.exec_driver_sql("UPDATE meta SET value = value + ? WHERE key = 'next_execution_seq'", (came,))
    assert forgotten == [PRUNED_PER_STEP, PRUNED_PER_STEP + 7, PRUNED_PER_STEP + 300, MOST_PRUNED_PER_STEP]


def test_who_leads_again_begins_with_few(ledger):
    long_ledger(ledger)
    pruning = Pruning(ledger.database)
    (command,) = pruning.plan(10_000, 0.0)
    ledger.apply(command)
    pruning.forget()
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = value + 5000 WHERE key = 'next_execution_seq'")
    (command,) = pruning.plan(10_000, 1.0)
    assert len(command.execution_seqs) == PRUNED_PER_STEP


def long_ledger(ledger):
    """A job that may keep one execution, and has 1,200."""
    job = ledger.create(concurrency=ConcurrencyPolicy.ALLOW, retention=Retention(max_count=1))
    with ledger.database.write() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
            "INSERT INTO executions (seq, id, job_seq, job_version, status, cause, fire_time, created_at, attempt, "
            "lost_count, max_attempts, finished_at) "
            "SELECT i, CAST(printf('%016d', i) AS BLOB), ?, 1, 'succeeded', 'schedule', i, i, 1, 0, 3, i FROM n",
            (ledger.seq_of(job),),
        )


def test_a_step_costs_no_more_where_there_are_many_other_jobs(ledger):
    finished(ledger, 2)
    alone = instructions_of_a_step(ledger)
    for number in range(300):
        ledger.create(f"other-{number}")
    assert instructions_of_a_step(ledger) < alone + 100


def instructions_of_a_step(ledger):
    """Of SQLite's virtual machine, in tens."""
    counted = []
    with ledger.database.look() as connection:
        driver = connection.connection.driver_connection
    driver.set_progress_handler(lambda: counted.append(1), 10)
    Pruning(ledger.database).plan(10 * MINUTE, 0.0)
    driver.set_progress_handler(None, 0)
    assert counted
    return len(counted)


def test_deleted_jobs_that_keep_their_ledger_do_not_keep_others_from_being_purged(ledger):
    kept = [finished(ledger, 1, name="kept")]
    gone = [ledger.create(f"gone-{number}") for number in range(120)]
    for job in kept + gone:
        ledger.request(DeleteJob(job.id), at=MINUTE)
    prune_until_done(ledger, DAY)
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT id FROM jobs").scalars().all() == [ids.from_text(kept[0].id)]
