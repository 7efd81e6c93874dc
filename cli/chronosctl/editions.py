"""`chronosctl job versions | diff | rollback`: what a job was before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from cli.chronosctl.jobs import job_argument, namespace_option
from cli.chronosctl.lookup import job_path
from cli.chronosctl.session import Session, output_option, pass_session

version_argument = click.argument("version", type=click.IntRange(min=1))


@click.command("versions")
@job_argument
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many at most.")
@namespace_option
@output_option
@pass_session
def versions(session: Session, job: str, limit: int, namespace: str | None) -> None:
    """List what a job was, the newest first."""
    found = session.api.pages(job_path(session.api, job, namespace, "/versions"), limit)
    columns = [
        ("VERSION", "version"), ("AT", "created_at"), ("CHANGE", "change"), ("BY", "principal"),
        ("SCHEDULE", "job.schedule"), ("URL", "job.webhook.url"),
    ]  # fmt: skip
    session.printer.rows(found, columns)


@click.command("diff")
@job_argument
@version_argument
@click.option("--against", type=click.IntRange(min=1), help="The version to compare with; else the one before.")
@namespace_option
@output_option
@pass_session
def diff(session: Session, job: str, version: int, against: int | None, namespace: str | None) -> None:
    """Show what a version of a job changed; secrets are masked."""
    path = job_path(session.api, job, namespace, f"/versions/{version}/diff")
    found = session.api.get(path, against=against)
    if session.printer.format != "table":
        session.printer.data(found)
    elif found:
        session.printer.diff(_pairs(found))
    else:
        session.printer.note("no difference (secrets are masked and not compared)")


@click.command("rollback")
@job_argument
@version_argument
@namespace_option
@output_option
@pass_session
def rollback(session: Session, job: str, version: int, namespace: str | None) -> None:
    """Make an earlier version the newest again."""
    found = session.api.post(job_path(session.api, job, namespace, f"/rollback/{version}"))
    session.printer.done(f"{found['name']} is as it was in version {version}, now version {found['version']}", found)


def _pairs(found: list[dict[str, Any]]) -> Iterator[str]:
    """Differences as pairs of lines, the old value and the new one."""
    for item in found:
        for sign, value in (("-", item["from"]), ("+", item["to"])):
            if value is not None:
                yield f"{sign} {item['pointer'] or '/'}: {value!r}"
