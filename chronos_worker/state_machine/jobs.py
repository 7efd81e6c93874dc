"""Applying what clients ask of jobs: create, update, delete, and many of these at once."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any, Final

from chronos_common import ids
from chronos_common.commands import CreateJob, DeleteJob, JobBatch, UpdateJob
from chronos_common.errors import Violation
from chronos_common.models import Job, JobSpec
from chronos_common.protocol import Answer, BatchDone, BatchItem, JobChanged, JobDeleted, Rejected
from chronos_worker.state_machine.context import Applying
from chronos_worker.state_machine.endings import cancel_active
from chronos_worker.store import rows

MAX_VERSIONS: Final = 100
"""Saved editions per job; older ones go when a new one is saved."""

_INSERT_JOB: Final = """
    INSERT INTO jobs (seq, id, namespace, name, version, enabled, concurrency, max_attempts, schedule, timezone,
                      misfire, next_fire_time, last_fire_time, spec, created_at, updated_at)
    VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)"""
_UPDATE_JOB: Final = """
    UPDATE jobs SET namespace = ?, name = ?, version = ?, enabled = ?, concurrency = ?, max_attempts = ?,
                    schedule = ?, timezone = ?, misfire = ?, next_fire_time = ?, spec = ?, updated_at = ?
    WHERE seq = ?"""
_INSERT_VERSION: Final = "INSERT INTO job_versions VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_TAG: Final = "INSERT INTO job_tags VALUES (?, ?, ?)"
_SELECT_JOB: Final = "SELECT seq, version, spec, next_fire_time FROM jobs WHERE id = ? AND deleted_at IS NULL"


def create_job(tx: Applying, command: CreateJob, at: int, principal: str) -> JobChanged | Rejected:
    """Add a job unless its name is taken."""
    spec = command.spec
    if (taken := _holder_of(tx, spec)) is not None:
        return _name_taken(spec, taken)
    _insert(tx, [command], at, principal)
    return JobChanged(Job(command.job_id, 1, spec, at, at, command.next_fire_time), created=True)


def _insert(tx: Applying, commands: list[CreateJob], at: int, principal: str) -> None:
    """Write new jobs whose names are free, three statements for all of them."""
    jobs: list[tuple[Any, ...]] = []
    versions: list[tuple[Any, ...]] = []
    tags: list[tuple[str, str, int]] = []
    for seq, command in enumerate(commands, tx.next_job_seq):
        spec = command.spec
        raw_spec = rows.pack(spec)
        tx.due(command.next_fire_time)
        jobs.append(
            (seq, ids.from_text(command.job_id), spec.namespace, spec.name, spec.enabled, spec.concurrency.value,
             spec.retry_policy.max_attempts, spec.schedule, spec.timezone, rows.pack(spec.misfire),
             command.next_fire_time, raw_spec, at, at)
        )  # fmt: skip
        versions.append((seq, 1, raw_spec, at, "created", principal))
        tags += [(key, value, seq) for key, value in spec.tags.items()]
    tx.next_job_seq += len(commands)
    tx.change_many(_INSERT_JOB, jobs)
    tx.change_many(_INSERT_VERSION, versions)
    tx.change_many(_INSERT_TAG, tags)


def update_job(tx: Applying, command: UpdateJob, at: int, principal: str) -> JobChanged | Rejected:
    """Replace a job's spec as its next version."""
    found = tx.row(_SELECT_JOB, ids.from_text(command.job_id))
    if found is None:
        return no_such_job(command.job_id)
    seq, version, raw_old, next_fire_time = found
    if command.expect_version not in (None, version):
        return _stale(command.job_id, command.expect_version, version)
    old, spec = rows.decode_spec(raw_old), command.spec
    if (spec.namespace, spec.name) != (old.namespace, old.name) and (taken := _holder_of(tx, spec)) is not None:
        return _name_taken(spec, taken)
    if _timing(spec) != _timing(old):
        next_fire_time = command.next_fire_time
    tx.due(next_fire_time)
    raw_spec = rows.pack(spec)
    tx.change(
        _UPDATE_JOB, spec.namespace, spec.name, version + 1, spec.enabled, spec.concurrency.value,
        spec.retry_policy.max_attempts, spec.schedule, spec.timezone, rows.pack(spec.misfire),
        next_fire_time, raw_spec, at, seq,
    )  # fmt: skip
    tx.change(_INSERT_VERSION, seq, version + 1, raw_spec, at, command.change, principal)
    tx.change("DELETE FROM job_versions WHERE job_seq = ? AND version <= ?", seq, version + 1 - MAX_VERSIONS)
    if spec.tags != old.tags:
        _remove_tags(tx, seq, old)
        _add_tags(tx, seq, spec)
    return JobChanged(_job(tx, seq))


def delete_job(tx: Applying, command: DeleteJob, at: int) -> JobDeleted | Rejected:
    """Remove a job; its row stays, unlisted, for as long as its ledger does."""
    found = tx.row(_SELECT_JOB, ids.from_text(command.job_id))
    if found is None:
        return no_such_job(command.job_id)
    seq, version, raw_spec, _ = found
    if command.expect_version not in (None, version):
        return _stale(command.job_id, command.expect_version, version)
    cancel_active(tx, seq, at, "the job was deleted")
    _remove_tags(tx, seq, rows.decode_spec(raw_spec))
    tx.change("UPDATE jobs SET deleted_at = ?, enabled = 0, next_fire_time = NULL WHERE seq = ?", at, seq)
    return JobDeleted(command.job_id)


def apply_batch(tx: Applying, command: JobBatch, at: int, principal: str) -> BatchDone:
    """Many changes; with `atomic` one refusal undoes all of them."""
    savepoint = tx.savepoint() if command.atomic else None
    items: tuple[BatchItem, ...] = ()
    for creates, group in groupby(command.items, lambda item: isinstance(item, CreateJob)):
        if creates:
            items += tuple(_create_many(tx, [item for item in group if isinstance(item, CreateJob)], at, principal))
        else:
            items += tuple(_batch_item(_one(tx, item, at, principal)) for item in group)
    if savepoint is None:
        return BatchDone(items, applied=True)
    if all(item.rejected is None for item in items):
        savepoint.commit()
        return BatchDone(items, applied=True)
    savepoint.rollback()
    return BatchDone(items, applied=False)


def _create_many(tx: Applying, commands: list[CreateJob], at: int, principal: str) -> list[BatchItem]:
    """What creating them one by one would do, with one look at the names for all of them."""
    holders: dict[tuple[str, str], bytes] = {
        (name, namespace): holder
        for name, namespace, holder in tx.rows(
            "SELECT name, namespace, id FROM jobs "
            "WHERE name IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL",
            json.dumps([command.spec.name for command in commands]),
        )
    }
    items: list[BatchItem] = []
    free: list[CreateJob] = []
    for command in commands:
        key = (command.spec.name, command.spec.namespace)
        if key in holders:
            items.append(BatchItem(rejected=_name_taken(command.spec, holders[key])))
            continue
        holders[key] = ids.from_text(command.job_id) or b""
        free.append(command)
        items.append(BatchItem(command.job_id, 1))
    _insert(tx, free, at, principal)
    return items


def _one(tx: Applying, item: CreateJob | UpdateJob | DeleteJob, at: int, principal: str) -> Answer:
    match item:
        case CreateJob():
            return create_job(tx, item, at, principal)
        case UpdateJob():
            return update_job(tx, item, at, principal)
        case DeleteJob():
            return delete_job(tx, item, at)


def _batch_item(answer: Answer) -> BatchItem:
    match answer:
        case JobChanged(job=job):
            return BatchItem(job.id, job.version)
        case JobDeleted(job_id=job_id):
            return BatchItem(job_id)
        case Rejected():
            return BatchItem(rejected=answer)
        case _:
            raise AssertionError(f"a job change cannot answer with {type(answer).__name__}")


def no_such_job(job_id: str) -> Rejected:
    """The refusal for an id that names nothing."""
    return Rejected("not_found", f"there is no job with id {job_id!r}")


def _stale(job_id: str, expected: int | None, version: int) -> Rejected:
    return Rejected(
        "precondition_failed",
        f"job {job_id} is at version {version}, the request expected version {expected}",
    )


def _name_taken(spec: JobSpec, holder: bytes) -> Rejected:
    return Rejected(
        "conflict",
        f"the name {spec.name!r} is taken in namespace {spec.namespace!r} by job {ids.to_text(holder)}",
        (Violation("/name", "is taken in this namespace", "a name no other job of the namespace has"),),
    )


def _holder_of(tx: Applying, spec: JobSpec) -> bytes | None:
    found = tx.row(
        "SELECT id FROM jobs WHERE name = ? AND namespace = ? AND deleted_at IS NULL",
        spec.name,
        spec.namespace,
    )
    return None if found is None else found[0]


def _timing(spec: JobSpec) -> tuple[str | None, str, bool]:
    return spec.schedule, spec.timezone, spec.enabled


def _job(tx: Applying, seq: int) -> Job:
    return rows.job_of(tx.row(f"SELECT {rows.JOB_COLUMNS} FROM jobs WHERE seq = ?", seq))  # noqa: S608 - constant


def _add_tags(tx: Applying, seq: int, spec: JobSpec) -> None:
    tx.change_many(_INSERT_TAG, [(key, value, seq) for key, value in spec.tags.items()])


def _remove_tags(tx: Applying, seq: int, spec: JobSpec) -> None:
    tx.change_many(
        "DELETE FROM job_tags WHERE key = ? AND value = ? AND job_seq = ?",
        [(k, v, seq) for k, v in spec.tags.items()],
    )
