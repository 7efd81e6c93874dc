"""Applying what retention lets go."""

from __future__ import annotations

from typing import Final

from chronos_common.commands import Prune
from chronos_worker.state_machine.context import Applying, as_json

OUTCOMES_PER_PRUNE: Final = 2_000


def apply_prune(tx: Applying, command: Prune) -> None:
    """Forget finished executions with their attempts, old outcomes, and deleted jobs without a ledger."""
    if command.execution_seqs:
        chosen = as_json(command.execution_seqs)
        tx.change(
            "DELETE FROM executions WHERE seq IN (SELECT value FROM json_each(?)) "
            "AND status NOT IN ('pending', 'running')",
            chosen,
        )
        tx.change(
            "DELETE FROM attempts WHERE execution_seq IN (SELECT value FROM json_each(?)) "
            "AND NOT EXISTS (SELECT 1 FROM executions WHERE seq = execution_seq)",
            chosen,
        )
    if command.outcomes_before is not None:
        tx.change(
            "DELETE FROM outcomes WHERE command_id IN "
            "(SELECT command_id FROM outcomes WHERE at < ? ORDER BY at, command_id LIMIT ?)",
            command.outcomes_before,
            OUTCOMES_PER_PRUNE,
        )
    if command.job_seqs:
        _purge_jobs(tx, as_json(command.job_seqs))


def _purge_jobs(tx: Applying, chosen: str) -> None:
    purged = tx.rows(
        "DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(?)) AND deleted_at IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM executions WHERE job_seq = jobs.seq) RETURNING seq",
        chosen,
    )
    tx.change(
        "DELETE FROM job_versions WHERE job_seq IN (SELECT value FROM json_each(?))",
        as_json(row[0] for row in purged),
    )
