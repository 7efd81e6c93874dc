"""`chronosctl job import-crontab`: from a crontab to jobs."""

from __future__ import annotations

import click

from chronos_common.schedules import InvalidTimezone
from chronos_common.schedules.zones import zone
from cli.chronosctl.crontab import Crontab, parse_crontab
from cli.chronosctl.crontab_jobs import check_templates, job_of, loses_stdin
from cli.chronosctl.documents import Document, read_text
from cli.chronosctl.failures import CliError, bad_input
from cli.chronosctl.jobs import tag_of
from cli.chronosctl.loading import Change, load, report
from cli.chronosctl.output import yaml_text
from cli.chronosctl.session import Session, output_option, pass_session

_DETAILS = 50


@click.command("import-crontab")
@click.argument("file")
@click.option(
    "--url-template", required=True, metavar="URL",
    help="The webhook of each job; {command} and {name} are put in, percent-encoded.",
)  # fmt: skip
@click.option(
    "--body-template", metavar="TEXT",
    help="What each job sends, JSON or text, with {command}, {name} and {stdin}; else the standard input, if any.",
)  # fmt: skip
@click.option("--system", is_flag=True, help="A system crontab, with a user before the command.")
@click.option("--timezone", default="UTC", show_default=True, help="Where no CRON_TZ is written.")
@click.option("--namespace", "-n", help="The namespace of the jobs.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag for every job. May be repeated.")
@click.option("--dry-run", is_flag=True, help="Print the jobs as YAML for apply, and create none.")
@output_option
@pass_session
def import_crontab(
    session: Session,
    *,
    file: str,
    url_template: str,
    body_template: str | None,
    system: bool,
    timezone: str,
    namespace: str | None,
    tags: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Turn an ordinary crontab into jobs that call a webhook a line; FILE is a path, or - for stdin.

    What cannot become a job, such as @reboot, is reported by its line, and the exit status is 2; the other lines are
    imported all the same. Names come from the commands, so importing again finds the names taken.
    """
    check_templates(url_template, body_template)
    try:
        zone(timezone)
    except InvalidTimezone as error:
        raise bad_input(f"--timezone: {error}") from error
    crontab = parse_crontab(read_text(file), system=system, timezone=timezone)
    given = {key: value for key, _, value in (tag_of(text).partition(":") for text in tags)}
    extra = {"namespace": namespace} if namespace else {}
    documents = [
        Document({**job_of(entry, url_template, given, body_template), **extra}, f"line {entry.line}")
        for entry in crontab.entries
    ]
    _report(session, crontab)
    for entry in crontab.entries:
        if loses_stdin(entry, body_template):
            session.printer.note(f"line {entry.line}: its standard input is left out; {{stdin}} in the body keeps it")
    if dry_run:
        _print(session, documents)
    else:
        report(
            session, load(session, [Change("create", str(d.body["name"]), d.source, job=d.body) for d in documents])
        )
    refused = [remark for remark in crontab.remarks if remark.refused]
    if refused:
        details = tuple(f"line {remark.line}: {remark.text}" for remark in refused[:_DETAILS])
        raise CliError(f"{len(refused)} line(s) became no job", 2, details)


def _report(session: Session, crontab: Crontab) -> None:
    for remark in crontab.remarks:
        if not remark.refused:
            session.printer.note(f"line {remark.line}: {remark.text}")
    session.printer.note(f"{len(crontab.entries)} line(s) to jobs")


def _print(session: Session, documents: list[Document]) -> None:
    if session.printer.format == "json":
        session.printer.data([document.body for document in documents])
        return
    for document in documents:
        click.echo("---\n" + yaml_text(document.body), nl=False)
