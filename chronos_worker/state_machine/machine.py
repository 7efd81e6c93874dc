"""The state machine: committed entries in, rows changed, effects out.

`apply` is a function of (rows, entries). It never reads a clock, chance, configuration or the network;
its one local input, which life of which node this is, selects effects and never rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple, assert_never

from chronos_common import VERSION
from chronos_common.commands import (
    FIRST_LEVEL,
    READS,
    AbortRestore,
    AnnounceNode,
    Barrier,
    BeginRestore,
    CancelExecution,
    Change,
    Claim,
    ClientRequest,
    Command,
    CreateJob,
    DeleteJob,
    EndRestore,
    Fire,
    ForgetNode,
    JobBatch,
    MoveDue,
    Prune,
    RaiseLevel,
    RecordResults,
    ReleaseNode,
    ReplayExecution,
    ReportDigest,
    RestoreChange,
    RestoreRows,
    StartAttempts,
    TakeDigest,
    TriggerJob,
    UnknownCommand,
    UpdateJob,
    decode_entry,
)
from chronos_common.protocol import Answer, Outcome, Rejected, decode
from chronos_worker.state_machine import executions, firing, jobs, nodes, pruning, restoring, results
from chronos_worker.state_machine.context import NEVER, Applying
from chronos_worker.state_machine.effects import (
    Answered,
    Assigned,
    BarrierReached,
    DigestDue,
    DigestReported,
    Effect,
    Planned,
)
from chronos_worker.store.database import Database
from chronos_worker.store.restore_progress import get_restore
from chronos_worker.store.rows import pack


class Entry(NamedTuple):
    """A committed log entry. Empty data is the log's own no-op."""

    index: int  # type: ignore[assignment]  # the field's own word; nobody calls tuple.index here
    term: int
    data: bytes


class StateMachine:
    """Applies entries to one database. For the node's thread only. `reads`: the highest level it can apply."""

    def __init__(self, database: Database, reads: int = READS) -> None:
        self._database = database
        self._reads = reads
        self.me: Claim | None = None
        """This node's announced life; effects for other lives are not ours to perform."""
        self.running: Counter[str] = Counter()
        """Running attempts by node id: seats taken, kept in step with the rows."""
        self.due_from = NEVER
        """The earliest instant (ms) at which something written by the last `apply` is due."""
        self.restoring = False
        """Whether the rows are being filled from a backup, and nothing in them is due yet."""
        self.applied_index = 0
        self.applied_term = 0
        self.level = FIRST_LEVEL
        """The highest level of commands that may be proposed."""
        self.reload()

    def reload(self) -> None:
        """Take position and seat counts from the rows: at start and after a snapshot was installed."""
        self.applied_index, self.applied_term = self._database.applied()
        self.level = self._database.level()
        with self._database.look() as connection:
            counted = connection.exec_driver_sql(
                "SELECT node_id, count(*) FROM executions "
                "WHERE status IN ('pending', 'running') AND status = 'running' GROUP BY node_id"
            )
            self.running = Counter(dict(counted.all()))
            self.restoring = get_restore(connection) is not None

    def held(self) -> list[Assigned]:
        """Every attempt the rows assign to this life: what a snapshot may have brought unannounced."""
        if self.me is None:
            return []
        with self._database.look() as connection:
            rows = connection.exec_driver_sql(
                "SELECT seq, id, attempt, job_seq, job_version, fire_time, extra, started_at FROM executions "
                "WHERE status IN ('pending', 'running') AND status = 'running' AND node_id = ? AND incarnation = ?",
                (self.me.node_id, self.me.incarnation),
            )
            return [Assigned(*row) for row in rows.all()]

    def apply(self, entries: Iterable[Entry]) -> list[Effect]:
        """Apply entries in one transaction together with the new applied index.

        Entries at or below the applied index were applied before and are passed over.

        Raises:
            UnknownCommand: an entry this build cannot read, or a level it does not; nothing of the batch is applied.
            sqlite3.Error, sqlalchemy.exc.DBAPIError: the disk failed; the caller must stop the node.
        """
        fresh = [entry for entry in entries if entry.index > self.applied_index]
        self.due_from = NEVER
        if not fresh:
            return []
        running = self.running.copy()
        with self._database.write() as connection:
            tx = Applying(connection, self.me, running)
            for entry in fresh:
                tx.index = entry.index
                if entry.data:
                    for command in decode_entry(entry.data):
                        _apply_command(tx, command)
            if tx.level > self._reads:
                raise UnknownCommand(
                    f"the cluster goes on to command level {tx.level}, and this is Chronos {VERSION}, "
                    f"which reads up to {self._reads}: start a newer version on this node"
                )
            last = fresh[-1]
            _close(tx, last)
        self.running = running
        self.due_from = tx.due_from
        self.restoring = tx.restore is not None
        self.level = tx.level
        self.applied_index, self.applied_term = last.index, last.term
        return tx.effects


def _close(tx: Applying, last: Entry) -> None:
    tx.change_many(
        "UPDATE meta SET value = ? WHERE key = ?",
        [
            (last.index, "applied_index"),
            (last.term, "applied_term"),
            (tx.next_job_seq, "next_job_seq"),
            (tx.next_execution_seq, "next_execution_seq"),
            (tx.level, "level"),
        ],
    )
    tx.change_many(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        sorted(tx.counts.items()),
    )


def _apply_command(tx: Applying, command: Command) -> None:  # noqa: C901, PLR0912 - one case for each kind
    match command:
        case ClientRequest():
            _apply_request(tx, command)
        case Fire() | StartAttempts() | MoveDue():
            if tx.restore is None:  # else made before the restore began; its rows may be others by now
                firing.apply_plan(tx, command)
            tx.effects.append(Planned(None if isinstance(command, MoveDue) else command.at))
        case RecordResults():
            results.apply_results(tx, command)
        case AnnounceNode():
            nodes.announce_node(tx, command)
        case ReleaseNode():
            nodes.release_node(tx, command)
        case RaiseLevel():
            nodes.raise_level(tx, command)
        case ForgetNode():
            nodes.forget_node(tx, command)
        case Prune():
            if tx.restore is None:
                pruning.apply_prune(tx, command)
        case Barrier(token=token):
            tx.effects.append(BarrierReached(token))
        case TakeDigest(token=token):
            tx.effects.append(DigestDue(token))
        case ReportDigest():
            tx.effects.append(DigestReported(command))
        case _:
            assert_never(command)


def _apply_request(tx: Applying, request: ClientRequest) -> None:
    """A client's change, once: the same command id again gets the first answer."""
    if isinstance(request.change, RestoreChange):
        answer = _apply_change(tx, request.change, request.at, request.principal)
        tx.effects.append(Answered(request.command_id, Outcome(tx.index, answer)))
        return
    if tx.restore is not None:
        # Not kept: the same request may be made again when the restore has ended.
        tx.effects.append(Answered(request.command_id, Outcome(tx.index, _RESTORING)))
        return
    known = tx.row("SELECT fingerprint, applied_index, answer FROM outcomes WHERE command_id = ?", request.command_id)
    if known is None:
        answer = _apply_change(tx, request.change, request.at, request.principal)
        tx.change(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)",
            request.command_id, request.fingerprint, tx.index, request.at, pack(answer),
        )  # fmt: skip
        outcome = Outcome(tx.index, answer)
    elif known[0] != request.fingerprint:
        outcome = Outcome(
            tx.index,
            Rejected("conflict", "this Idempotency-Key was used before for a different request; take a new key"),
        )
    else:
        outcome = Outcome(known[1], decode(known[2], Answer), repeated=True)
    tx.effects.append(Answered(request.command_id, outcome))


_RESTORING: Final = Rejected(
    "restoring", "the cluster is being restored from a backup and takes no other change until that ends or is aborted"
)


def _apply_change(  # noqa: PLR0911 - one return for each kind of change
    tx: Applying, change: Change, at: int, principal: str
) -> Answer:
    match change:
        case CreateJob():
            return jobs.create_job(tx, change, at, principal)
        case UpdateJob():
            return jobs.update_job(tx, change, at, principal)
        case DeleteJob():
            return jobs.delete_job(tx, change, at)
        case JobBatch():
            return jobs.apply_batch(tx, change, at, principal)
        case TriggerJob():
            return executions.trigger_job(tx, change, at)
        case ReplayExecution():
            return executions.replay_execution(tx, change, at)
        case CancelExecution():
            return executions.cancel_execution(tx, change, at)
        case BeginRestore() | RestoreRows() | EndRestore() | AbortRestore():
            return restoring.apply_restore(tx, change, at)
        case _:
            assert_never(change)
