"""Applying what came back from targets."""

from __future__ import annotations

from chronos_common.commands import RecordResults, Result
from chronos_common.models import AttemptStatus
from chronos_worker.state_machine.context import Applying, as_json
from chronos_worker.state_machine.effects import Recorded
from chronos_worker.state_machine.endings import ACTIVE_COLUMNS, Active, Ending, end_attempts
from chronos_worker.store.rows import pack


def apply_results(tx: Applying, command: RecordResults) -> None:
    """Record each result whose attempt is still running under the same claim; ignore the rest.

    A late, repeated or reordered result finds another attempt, another claim or an ended execution,
    and changes nothing.
    """
    claim = command.claim
    if claim == tx.me:
        tx.effects.extend(Recorded(item.execution_seq, item.number) for item in command.items)
    found = tx.rows(
        f"SELECT {ACTIVE_COLUMNS} FROM executions "  # noqa: S608 - a constant list of columns
        "WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'running' AND node_id = ? AND incarnation = ?",
        as_json(item.execution_seq for item in command.items),
        claim.node_id,
        claim.incarnation,
    )
    running = {row[0]: Active(*row) for row in found}
    endings: list[Ending] = []
    for item in command.items:
        execution = running.get(item.execution_seq)
        if execution is not None and execution.attempt == item.number:
            del running[item.execution_seq]
            endings.append(_ending(execution, item))
    end_attempts(tx, endings)


def _ending(execution: Active, item: Result) -> Ending:
    retry_at = item.finished_at if item.status is AttemptStatus.LOST else item.retry_at
    return Ending(
        execution,
        item.status,
        item.started_at,
        item.finished_at,
        retry_at,
        pack(item.response),
        _reason(item),
    )


def _reason(item: Result) -> str | None:
    return None if item.status is AttemptStatus.SUCCEEDED else item.response.error
