"""Holding restored rows against the tables and the types of what they keep, before they are let in.

Rows written by our own commands are right by construction. These come from a file: one that does not decode
would end every node at its first look at it, and again after each restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from chronos_common.backups import RowBatch
from chronos_common.commands import Response
from chronos_common.models import (
    AttemptStatus,
    ConcurrencyPolicy,
    ExecutionStatus,
    JobSpec,
    Misfire,
    Trigger,
)
from chronos_common.protocol import Answer
from chronos_worker.store.rows import Extra

_TYPES: Final = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
_ID_BYTES: Final = 16


class BadRow(Exception):
    """A row cannot be one of ours; the message names the table and the column."""


def _packed(kind: Any) -> Callable[[Any], object]:
    return msgspec.msgpack.Decoder(kind).decode


def _id(raw: bytes) -> None:
    if len(raw) != _ID_BYTES:
        raise ValueError(f"{len(raw)} bytes; an id has {_ID_BYTES}")


_CONTENT: Final[dict[tuple[str, str], Callable[[Any], object]]] = {
    ("jobs", "id"): _id,
    ("jobs", "spec"): _packed(JobSpec),
    ("jobs", "misfire"): _packed(Misfire),
    ("jobs", "concurrency"): ConcurrencyPolicy,
    ("job_versions", "spec"): _packed(JobSpec),
    ("executions", "id"): _id,
    ("executions", "status"): ExecutionStatus,
    ("executions", "cause"): Trigger,
    ("executions", "attempt_status"): AttemptStatus,
    ("executions", "response"): _packed(Response),
    ("executions", "extra"): _packed(Extra),
    ("attempts", "status"): AttemptStatus,
    ("attempts", "response"): _packed(Response),
    ("outcomes", "answer"): _packed(Answer),
}


def check_rows(table_info: Sequence[Any], batch: RowBatch) -> None:
    """Whether the table could hold these rows; `table_info` is what SQLite's pragma of that name says of it.

    Raises:
        BadRow: it could not.
    """
    declared = {name: (kind, bool(notnull or key)) for _, name, kind, notnull, _, key in table_info}
    expected = {name for _, name, _, notnull, default, key in table_info if key or (notnull and default is None)}
    for column in batch.columns:
        if column not in declared:
            raise BadRow(f"{batch.table} has no column {column!r:.60}; it has {', '.join(declared)}")
    if missing := sorted(expected - set(batch.columns)):
        raise BadRow(f"{batch.table} lacks the column {missing[0]}")
    if len(set(batch.columns)) != len(batch.columns):
        raise BadRow(f"a column of {batch.table} is given twice")
    wrong = next((row for row in batch.rows if len(row) != len(batch.columns)), None)
    if wrong is not None:
        raise BadRow(f"a row of {batch.table} has {len(wrong)} values for {len(batch.columns)} columns")
    for column, values in zip(batch.columns, zip(*batch.rows, strict=True), strict=False):
        _check_column(batch.table, column, values, *declared[column])


def _check_column(table: str, column: str, values: tuple[Any, ...], declared: str, needed: bool) -> None:
    """All values of a column at once: their types are few, and so are most of the values."""
    kind = _TYPES[declared]
    for found in set(map(type, values)) - {kind}:
        if found is not type(None):
            value = next(value for value in values if type(value) is found)
            raise BadRow(f"{table}.{column} is {value!r:.40}, not {kind.__name__}")
        if needed:
            raise BadRow(f"{table}.{column} is empty")
    if (content := _CONTENT.get((table, column))) is None:
        return
    for value in set(values) - {None}:
        try:
            content(value)
        except (msgspec.DecodeError, ValueError) as error:
            raise BadRow(f"{table}.{column} holds what this version cannot read: {error}") from error
