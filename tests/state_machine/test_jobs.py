"""What clients ask of jobs, as rows end up."""

import msgspec

from chronos_common.commands import CreateJob, DeleteJob, JobBatch, UpdateJob
from chronos_common.models import ConcurrencyPolicy, ExecutionStatus
from chronos_common.protocol import JobDeleted, ListVersions, Rejected
from chronos_worker.store import job_queries


def changed(job, **fields):
    return msgspec.structs.replace(job.spec, **fields)


def test_a_job_starts_at_version_one_and_saves_that_version(ledger):
    job = ledger.create("a", tags={"team": "ops"})
    assert (job.version, job.next_fire_time) == (1, 60_000)
    with ledger.database.read() as connection:
        page = job_queries.list_versions(connection, ListVersions(job.id))
    assert [(item.version, item.change, item.principal) for item in page.items] == [(1, "created", "tester")]


def test_a_taken_name_is_refused_and_names_its_holder(ledger):
    job = ledger.create("a")
    outcome = ledger.request(CreateJob(job.spec, "00000000-0000-7000-8000-00000000000f", None))
    assert outcome.answer.code == "conflict"
    assert job.id in outcome.answer.message


def test_a_name_is_free_again_after_deletion_and_in_another_namespace(ledger):
    job = ledger.create("a")
    ledger.create("a", namespace="other")
    assert ledger.request(DeleteJob(job.id)).answer == JobDeleted(job.id)
    assert ledger.create("a").id != job.id


def test_the_same_command_id_gets_the_first_answer_again(ledger):
    job = ledger.create("a")
    change = UpdateJob(job.id, changed(job, description="x"))
    first = ledger.request(change, key="k")
    again = ledger.request(change, key="k")
    assert again.repeated
    assert (again.index, again.answer) == (first.index, first.answer)
    assert ledger.job(job.id).version == 2


def test_a_command_id_reused_for_something_else_is_refused(ledger):
    job = ledger.create("a")
    ledger.request(UpdateJob(job.id, changed(job, description="x")), key="k", fingerprint=b"1")
    outcome = ledger.request(DeleteJob(job.id), key="k", fingerprint=b"2")
    assert outcome.answer.code == "conflict"
    assert ledger.job(job.id) is not None


def test_an_update_for_an_older_version_changes_nothing(ledger):
    job = ledger.create("a")
    ledger.request(UpdateJob(job.id, changed(job, description="x"), expect_version=1))
    outcome = ledger.request(UpdateJob(job.id, changed(job, description="y"), expect_version=1))
    assert outcome.answer.code == "precondition_failed"
    assert ledger.job(job.id).spec.description == "x"


def test_editing_a_description_keeps_an_occurrence_that_is_due(ledger):
    job = ledger.create("a", schedule="* * * * *", next_fire_time=60_000)
    ledger.request(UpdateJob(job.id, changed(job, description="x"), next_fire_time=180_000))
    assert ledger.job(job.id).next_fire_time == 60_000


def test_editing_the_schedule_takes_the_new_fire_time(ledger):
    job = ledger.create("a", schedule="* * * * *")
    ledger.request(UpdateJob(job.id, changed(job, schedule="@hourly"), next_fire_time=3_600_000))
    assert ledger.job(job.id).next_fire_time == 3_600_000


def test_tags_follow_the_edits(ledger):
    job = ledger.create("a", tags={"k": "1"})
    ledger.request(UpdateJob(job.id, changed(job, tags={"k": "2"})))
    assert ledger.jobs(tags={"k": "1"}) == []
    assert [item.id for item in ledger.jobs(tags={"k": "2"})] == [job.id]


def test_deleting_a_job_cancels_what_is_active_and_keeps_the_ledger(ledger):
    job = ledger.create("a", concurrency=ConcurrencyPolicy.ALLOW)
    ledger.fire(job, 60_000)
    effects = ledger.apply()
    ledger.request(DeleteJob(job.id))
    assert effects == []
    (execution,) = ledger.executions()
    assert (execution.status, execution.reason) == (ExecutionStatus.CANCELLED, "the job was deleted")
    assert ledger.job(job.id) is None
    assert ledger.machine.running["n1"] == 0


def test_an_atomic_batch_with_one_refusal_leaves_no_trace(ledger):
    job = ledger.create("a")
    ledger.fire(job, 60_000)
    spec = changed(job, name="b")
    batch = JobBatch(
        (
            CreateJob(spec, "00000000-0000-7000-8000-00000000000b", None),
            DeleteJob(job.id),
            DeleteJob("00000000-0000-7000-8000-0000000000ff"),
        ),
        atomic=True,
    )
    answer = ledger.request(batch).answer
    assert not answer.applied
    assert [item.rejected is None for item in answer.items] == [True, True, False]
    assert [item.id for item in ledger.jobs()] == [job.id]
    assert ledger.executions()[0].status is ExecutionStatus.RUNNING
    assert ledger.machine.running["n1"] == 1
    assert ledger.create("after").version == 1


def test_a_batch_that_is_not_atomic_applies_what_it_can(ledger):
    job = ledger.create("a")
    batch = JobBatch((DeleteJob("00000000-0000-7000-8000-0000000000ff"), DeleteJob(job.id)))
    answer = ledger.request(batch).answer
    assert isinstance(answer.items[0].rejected, Rejected)
    assert answer.items[1].job_id == job.id
    assert ledger.jobs() == []


def test_two_jobs_of_one_name_in_a_batch_are_one_job(ledger):
    spec = ledger.create("first").spec
    items = tuple(
        CreateJob(msgspec.structs.replace(spec, name=name), f"00000000-0000-7000-8000-0000000000{n:02}", None)
        for n, name in enumerate(["new", "new", "first", "newer"])
    )
    answer = ledger.request(JobBatch(items)).answer
    assert [item.rejected is None for item in answer.items] == [True, False, False, True]
    assert answer.items[0].job_id in answer.items[1].rejected.message
    assert [job.spec.name for job in ledger.jobs()] == ["first", "new", "newer"]
