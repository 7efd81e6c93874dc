"""`chronosctl job versions | diff | rollback`: what a job was before."""

from __future__ import annotations

from typing import Any

import click

from cli.chronosctl.jobs import namespace_option
from cli.chronosctl.lookup import job_path
from cli.chronosctl.output import Printer
from cli.chronosctl.session import Session, output_option, pass_session

version_argument = click.argument("version", type=click.IntRange(min=1))


@click.command("versions")
@click.argument("job")
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
@click.argument("job")
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
        show_differences(session.printer, found)
    else:
        session.printer.note("no difference (secrets are masked and not compared)")


@click.command("rollback")
@click.argument("job")
@version_argument
@namespace_option
@output_option
@pass_session
def rollback(session: Session, job: str, version: int, namespace: str | None) -> None:
    """Make an earlier version the newest again."""
    found = session.api.post(job_path(session.api, job, namespace, f"/rollback/{version}"))
    session.printer.done(f"{found['name']} is as it was in version {version}, now version {found['version']}", found)


def show_differences(printer: Printer, found: list[dict[str, Any]], indent: str = "") -> None:
    """Differences as pairs of lines, the old value and the new one."""
    for item in found:
        for sign, value, colour in (("-", item["from"], "red"), ("+", item["to"], "green")):
            if value is not None:
                line = f"{indent}{sign} {item['pointer'] or '/'}: {value!r}"
                click.echo(click.style(line, fg=colour) if printer.colours else line)
