"""Applying a restore: rows of a backup, piece by piece, into a cluster that has none.

While one is under way the rows are incomplete, so nothing is fired and no other change is taken
(`machine.py`). How far it is stands in the rows too, under RESTORE in `meta`: every node knows it, and so
does a node that gets a snapshot in the middle.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, Final

import msgspec

from chronos_common.backups import MAX_PIECES, RESTORED_TABLES, RowBatch, chain, decode_batch
from chronos_common.commands import AbortRestore, BeginRestore, EndRestore, RestoreChange, RestoreRows
from chronos_common.models import AttemptStatus
from chronos_common.protocol import Rejected, RestoreState
from chronos_worker.state_machine.context import Applying, as_json
from chronos_worker.state_machine.effects import RestoreEnded
from chronos_worker.state_machine.endings import ACTIVE_COLUMNS, Active, Ending, end_attempts
from chronos_worker.state_machine.restored_rows import BadRow, check_rows
from chronos_worker.store.restore_progress import RESTORE, RESTORED, Restore
from chronos_worker.store.rows import pack

CLEARED_PER_STEP: Final = 2_000
_COUNTED: Final = 1_000
_NONE: Final = RestoreState("none")
_CLEAR: Final = (
    "DELETE FROM executions WHERE seq IN (SELECT seq FROM executions LIMIT ?)",
    "DELETE FROM attempts WHERE (execution_seq, number) IN (SELECT execution_seq, number FROM attempts LIMIT ?)",
    "DELETE FROM job_versions WHERE (job_seq, version) IN (SELECT job_seq, version FROM job_versions LIMIT ?)",
    "DELETE FROM job_tags WHERE (key, value, job_seq) IN (SELECT key, value, job_seq FROM job_tags LIMIT ?)",
    "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs LIMIT ?)",
)


def apply_restore(tx: Applying, change: RestoreChange, at: int) -> RestoreState | Rejected:
    """One step of a restore; `at` is the proposer's clock."""
    match change:
        case BeginRestore():
            return _begin(tx, change, at)
        case RestoreRows():
            return _take(tx, change, at)
        case EndRestore():
            return _end(tx, change)
        case AbortRestore():
            return _abort(tx)


def _begin(tx: Applying, change: BeginRestore, at: int) -> RestoreState | Rejected:
    restore = tx.restore
    if restore is not None:
        if restore.backup == change.backup and not restore.clearing:
            return _state(restore)
        going = "is being taken back" if restore.clearing else "is under way"
        return Rejected("conflict", f"the restore of the backup {restore.backup:.12} {going}; abort it first")
    if found := _what_is_there(tx):
        if _was_restored(tx, change.backup):
            return RestoreState("done", change.backup)
        return Rejected(
            "conflict",
            f"this cluster holds {found}; accepted is one in which no job was ever made, or where "
            "all were deleted and purged (an hour after the deletion, and when their ledger has gone)",
        )
    restore = Restore(backup=change.backup, index=change.index, taken_at=change.taken_at, begun_at=at)
    _keep(tx, restore)
    return _state(restore)


def _was_restored(tx: Applying, backup: str) -> bool:
    return tx.row("SELECT 1 FROM meta WHERE key = ? AND value = ?", RESTORED, backup) is not None


def _what_is_there(tx: Applying) -> str:
    found = []
    for table in ("jobs", "executions"):
        (count,) = tx.row(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_COUNTED})")  # noqa: S608 - constants
        if count:
            found.append(f"{count}{' or more' if count == _COUNTED else ''} {table}")
    return " and ".join(found)


def _take(tx: Applying, change: RestoreRows, at: int) -> RestoreState | Rejected:
    restore = tx.restore
    if restore is None or restore.backup != change.backup or restore.clearing:
        return _no_such_restore(change.backup)
    if change.number <= restore.pieces:
        return _state(restore)
    if change.number != restore.pieces + 1:
        return Rejected("conflict", f"piece {change.number} was sent; piece {restore.pieces + 1} comes next")
    following = msgspec.structs.replace(
        restore,
        pieces=change.number,
        chain=chain(restore.chain, change.data),
        waiting=(*restore.waiting, change.data) if change.more else (),
    )
    if change.more:
        if len(following.waiting) >= MAX_PIECES:
            return Rejected("invalid_request", f"the batch goes on after {MAX_PIECES} pieces, which is the most")
    else:
        savepoint = tx.savepoint()
        try:
            following = _insert(tx, following, b"".join((*restore.waiting, change.data)), at)
        except (BadRow, msgspec.DecodeError, *_REFUSED_BY_SQLITE) as error:
            savepoint.rollback()
            return Rejected("invalid_request", f"piece {change.number} cannot be restored: {error}")
        savepoint.commit()
    _keep(tx, following)
    return _state(following)


_REFUSED_BY_SQLITE: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
"""What the rows may be to blame for. Any other error of SQLite's is the disk's, and ends the node."""


def _insert(tx: Applying, restore: Restore, data: bytes, at: int) -> Restore:
    batch = decode_batch(data)
    if batch.table not in RESTORED_TABLES:
        raise BadRow(f"{batch.table!r:.60} is no table that is restored; those are {', '.join(RESTORED_TABLES)}")
    check_rows(tx.rows(f"PRAGMA table_info({batch.table})"), batch)
    rows = Counter(restore.rows)
    rows[batch.table] += len(batch.rows)
    counters = Counter(restore.counters)
    if batch.table == "counters":
        counters.update({str(row["name"]): int(row["value"]) for row in _as_dicts(batch)})
    else:
        insert = "INSERT OR REPLACE" if batch.table == "outcomes" else "INSERT"
        places = ", ".join("?" * len(batch.columns))
        tx.change_many(
            f"{insert} INTO {batch.table} ({', '.join(batch.columns)}) VALUES ({places})",
            [tuple(row) for row in _rewritten(tx, batch)],
        )
        if batch.table == "executions":
            counters.update(_lose_running(tx, batch, at))
    return msgspec.structs.replace(restore, rows=dict(rows), counters=dict(counters))


def _as_dicts(batch: RowBatch) -> list[dict[str, Any]]:
    return [dict(zip(batch.columns, row, strict=True)) for row in batch.rows]


def _rewritten(tx: Applying, batch: RowBatch) -> list[list[Any]]:
    """Outcomes name the index at which they were applied; in this log that is now."""
    if batch.table != "outcomes" or "applied_index" not in batch.columns:
        return batch.rows
    place = batch.columns.index("applied_index")
    return [[*row[:place], tx.index, *row[place + 1 :]] for row in batch.rows]


def _lose_running(tx: Applying, batch: RowBatch, at: int) -> Counter[str]:
    """The attempts that ran when the backup was taken ran on lives of another cluster: they are lost.

    What they count is kept apart until the restore has ended.
    """
    seqs = as_json(int(row["seq"]) for row in _as_dicts(batch))
    found = tx.rows(
        f"SELECT {ACTIVE_COLUMNS} FROM executions "  # noqa: S608 - a constant list of columns
        "WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'running' ORDER BY seq",
        seqs,
    )
    running = [Active(*row) for row in found]
    for execution in running:
        if execution.node_id is not None:
            tx.running[execution.node_id] += 1  # the seat that losing the attempt gives back
    counted, tx.counts = tx.counts, Counter()
    end_attempts(
        tx,
        [
            Ending(execution, AttemptStatus.LOST, execution.started_at or at, at, at, execution.response,
                   "it was running when the backup was taken")
            for execution in running
        ],
    )  # fmt: skip
    counted, tx.counts = tx.counts, counted
    return counted


def _end(tx: Applying, change: EndRestore) -> RestoreState | Rejected:
    restore = tx.restore
    if restore is None or restore.backup != change.backup or restore.clearing:
        if restore is None and _was_restored(tx, change.backup):
            return RestoreState("done", change.backup)
        return _no_such_restore(change.backup)
    if restore.waiting or restore.rows != change.rows or restore.chain != change.chain:
        _keep(tx, msgspec.structs.replace(restore, clearing=True, waiting=()))
        return Rejected(
            "conflict",
            f"what arrived is not what was sent: {_told(restore.rows)} instead of {_told(change.rows)}, or other "
            "bytes; the restore is taken back",
        )
    tx.counts.update(restore.counters)
    (last_job,), (last_execution,) = (
        tx.row(f"SELECT coalesce(max(seq), 0) FROM {table}")  # noqa: S608 - constants
        for table in ("jobs", "executions")
    )
    tx.next_job_seq = max(tx.next_job_seq, last_job + 1)
    tx.next_execution_seq = max(tx.next_execution_seq, last_execution + 1)
    _keep(tx, None)
    tx.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", RESTORED, restore.backup)
    tx.effects.append(RestoreEnded())
    return RestoreState("done", restore.backup, restore.pieces, sum(restore.rows.values()))


def _told(rows: dict[str, int]) -> str:
    return ", ".join(f"{count} {table}" for table, count in sorted(rows.items())) or "nothing"


def _abort(tx: Applying) -> RestoreState:
    restore = tx.restore
    if restore is None:
        return _NONE
    left = CLEARED_PER_STEP
    for statement in _CLEAR:
        left -= tx.change(statement, left)
    left -= tx.change(
        "DELETE FROM outcomes WHERE command_id IN "
        "(SELECT command_id FROM outcomes WHERE at <= ? ORDER BY at, command_id LIMIT ?)",
        restore.taken_at,
        left,
    )
    if left:
        _keep(tx, None)
        return _NONE
    following = msgspec.structs.replace(restore, clearing=True, waiting=())
    _keep(tx, following)
    return _state(following)


def _keep(tx: Applying, restore: Restore | None) -> None:
    tx.restore = restore
    if restore is None:
        tx.change("DELETE FROM meta WHERE key = ?", RESTORE)
    else:
        tx.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", RESTORE, pack(restore))


def _state(restore: Restore) -> RestoreState:
    return RestoreState(
        "clearing" if restore.clearing else "open", restore.backup, restore.pieces, sum(restore.rows.values())
    )


def _no_such_restore(backup: str) -> Rejected:
    return Rejected("conflict", f"no restore of the backup {backup:.12} is under way; begin one")
