"""Sending many changes: one by one while they are few, in batches with a progress bar when they are many."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from click.termui import progressbar

from cli.chronosctl.failures import CliError, from_problem
from cli.chronosctl.session import Session

FEW: Final = 20
CHUNK: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of jobs as JSON in a batch, half of what the API takes."""
_DONE: Final = {"create": "created", "update": "updated", "delete": "deleted"}
_SHOWN_FAILURES: Final = 50


class Change(NamedTuple):
    """One change of one job. `source` tells a person where it was asked for."""

    op: str
    name: str
    source: str
    job_id: str | None = None
    job: dict[str, Any] | None = None
    version: int | None = None


class Outcome(NamedTuple):
    """What became of a change."""

    change: Change
    status: str
    job_id: str | None
    version: int | None
    failure: CliError | None


def load(session: Session, changes: Sequence[Change]) -> list[Outcome]:
    """Make the changes, each by itself: a refused one does not stop the others.

    Raises:
        CliError: the API cannot be reached or refuses the request as a whole.
    """
    outcomes: list[Outcome] = []
    few = len(changes) <= FEW
    with progressbar(
        length=len(changes), label="loading", file=sys.stderr, hidden=few or not sys.stderr.isatty()
    ) as bar:
        try:
            for part in parts(changes):
                outcomes += [_one(session, change) for change in part] if few else _batch(session, part)
                bar.update(len(part))
        except CliError as failure:
            if outcomes:
                failure.details += (
                    f"{len(outcomes)} of {len(changes)} had been answered before; apply finishes the rest",
                )
            raise
    return outcomes


def parts(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes in order, in parts that one request may carry; singly while they are few."""
    most = 1 if len(changes) <= FEW else CHUNK
    part: list[Change] = []
    size = 0
    for change in changes:
        weight = len(json.dumps(change.job))
        if part and (len(part) == most or size + weight > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(change)
        size += weight
    if part:
        yield part


def report(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Print what became of the changes.

    Raises:
        CliError: one was refused; with the exit status of the first.
    """
    rows = [{"status": o.status, "name": o.change.name, "id": o.job_id, "version": o.version} for o in outcomes]
    columns = [("STATUS", "status"), ("NAME", "name"), ("VERSION", "version"), ("ID", "id")]
    if rows:
        session.printer.rows(rows, columns)
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed or failed[0].failure is None:
        return
    details = [line for outcome in failed[:_SHOWN_FAILURES] for line in _told(outcome)]
    if len(failed) > _SHOWN_FAILURES:
        details.append(f"and {len(failed) - _SHOWN_FAILURES} more")
    first = failed[0].failure
    raise CliError(f"{len(failed)} of {len(outcomes)} were refused", first.status, tuple(details), first.code)


def _one(session: Session, change: Change) -> Outcome:
    try:
        data = _send(session, change)
    except CliError as failure:
        if not failure.code:
            raise
        return Outcome(change, "rejected", change.job_id, None, failure)
    found = data or {"id": change.job_id, "version": None}
    return Outcome(change, _DONE[change.op], found["id"], found["version"], None)


def _send(session: Session, change: Change) -> Any:
    if change.op == "create":
        return session.api.post("/jobs", change.job)
    method = "PUT" if change.op == "update" else "DELETE"
    return session.api.call(method, f"/jobs/{change.job_id}", body=change.job, if_version=change.version).data


def _batch(session: Session, changes: Sequence[Change]) -> list[Outcome]:
    items = [
        {"op": change.op}
        | ({"id": change.job_id} if change.job_id else {})
        | ({"job": change.job} if change.job is not None else {})
        for change in changes
    ]
    told = session.api.post("/jobs:batch", {"items": items, "atomic": False})["items"]
    return [
        Outcome(
            change,
            item["status"],
            item.get("id") or change.job_id,
            item.get("version"),
            from_problem(0, item["problem"]) if item.get("problem") else None,
        )
        for change, item in zip(changes, told, strict=True)
    ]


def _told(outcome: Outcome) -> list[str]:
    if outcome.failure is None:
        return []
    where = f"{outcome.change.source} ({outcome.change.name})"
    return [f"{where}: {outcome.failure.message}", *(f"  {detail}" for detail in outcome.failure.details)]
