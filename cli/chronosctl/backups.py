"""`chronosctl backup` and `chronosctl restore`: the whole cluster into a file, and from one."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
from click.termui import progressbar

from chronos_common.backups import CHAIN_START, Description, chain
from chronos_common.durations import InvalidDuration, parse_duration_ms
from chronos_common.schemas.fields import instant_text
from cli.chronosctl.backup_file import Piece, check, pieces, write
from cli.chronosctl.failures import CliError, bad_input
from cli.chronosctl.session import Session, output_option, pass_session

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
@click.option("--wait", default="30m", show_default=True, help="How long the copy may take on the worker.")
@output_option
@pass_session
def backup(session: Session, file: Path, force: bool, wait: str) -> None:
    """Keep all jobs and the whole ledger, as of now, in FILE. It holds all secrets unmasked: only you can read it."""
    if file.exists() and not force:  # not only once the copy was made
        raise bad_input(f"{file} exists already", "accepted: another name, or --force to replace it")
    with (
        session.api.download("/cluster/backup", _seconds(wait)) as (headers, parts),
        _bar("backing up", int(headers.get("content-length", 0))) as bar,
    ):
        found = write(file, _counted(parts, bar), replace=force)
    session.printer.done(f"{file}: {_told(found)}", _as_data(file, found))


def _seconds(wait: str) -> float:
    try:
        return parse_duration_ms(wait) / 1_000
    except InvalidDuration as error:
        raise bad_input(f"--wait is {wait!r}", 'accepted: a duration such as "90s" or "30m"') from error


def _bar(label: str, length: int) -> Any:
    return progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def _counted(parts: Any, bar: Any) -> Any:
    for part in parts:
        bar.update(len(part))
        yield part


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option("--check", "only_check", is_flag=True, help="Only see whether FILE is a whole backup, and of what.")
@click.option("--abort", is_flag=True, help="Take back what a restore that was not finished has done.")
@output_option
@pass_session
def restore(session: Session, file: Path | None, only_check: bool, abort: bool) -> None:
    """Fill an empty cluster, of any size, with the jobs and the ledger in FILE.

    Broken off, it goes on where it stood when it is given the same FILE again.
    """
    if abort:
        if file is not None or only_check:
            raise bad_input("--abort takes no FILE and no --check")
        _abort(session)
    elif file is None:
        raise bad_input("FILE is missing", "accepted: a file that chronosctl backup wrote, or --abort alone")
    else:
        with _bar("checking", file.stat().st_size if file.exists() else 0) as bar:
            found = check(file, bar.update)
        if only_check:
            session.printer.done(f"{file}: {_told(found)}; it is whole", _as_data(file, found))
        else:
            _restore(session, file, found)


def _restore(session: Session, file: Path, found: Description) -> None:
    state = session.api.post(
        "/cluster/restore",
        {
            "backup": found.sha256,
            "schema": found.schema,
            "index": found.index,
            "taken_at": instant_text(found.taken_at),
        },
    )
    if state["state"] == "done":
        session.printer.done(f"the cluster was filled from {file} before; there is nothing to do", state)
        return
    digest, rows = CHAIN_START, Counter[str]()
    with _bar("restoring", found.size) as bar:
        for piece in pieces(file):
            if piece.number > state["pieces"]:
                _send(session, found, piece)
            digest = chain(digest, piece.data)
            rows.update({piece.table: piece.rows})
            bar.update(len(piece.data))
    counts = {table: count for table, count in rows.items() if count}
    state = session.api.post("/cluster/restore/end", {"backup": found.sha256, "rows": counts, "chain": digest.hex()})
    session.printer.done(f"{file} is restored: {_told(found)}, {rows['jobs']} jobs, {rows['executions']} executions",
                         state)  # fmt: skip


def _send(session: Session, found: Description, piece: Piece) -> None:
    body = {"backup": found.sha256, "number": piece.number, "data": base64.b64encode(piece.data).decode(),
            "more": piece.more}  # fmt: skip
    try:
        session.api.post("/cluster/restore/rows", body)
    except CliError as failure:
        failure.details += (
            "what was restored so far waits in the cluster, which fires nothing meanwhile:",
            "repeat the command to go on, or take it back with chronosctl restore --abort",
        )
        raise


def _abort(session: Session) -> None:
    state = {"state": "clearing"}
    while state["state"] == "clearing":
        state = session.api.call("DELETE", "/cluster/restore").data
    session.printer.done("no restore is under way, and what one had done is taken back", state)


def _told(found: Description) -> str:
    return f"cluster {found.cluster_id or '-'} as of index {found.index}, {instant_text(found.taken_at)}"


def _as_data(file: Path, found: Description) -> dict[str, Any]:
    return {
        "file": str(file),
        "cluster_id": found.cluster_id,
        "index": found.index,
        "taken_at": instant_text(found.taken_at),
        "node_id": found.node_id,
        "version": found.version,
        "schema": found.schema,
        "bytes": found.size,
        "sha256": found.sha256,
    }
