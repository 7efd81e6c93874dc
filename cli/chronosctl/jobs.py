"""`chronosctl job`: jobs, one by one and from files."""

from __future__ import annotations

from typing import Any, Final

import click

from chronos_common.durations import InvalidDuration, parse_duration_ms
from cli.chronosctl.documents import Document, read_documents, read_value
from cli.chronosctl.executions import wait_for
from cli.chronosctl.failures import bad_input
from cli.chronosctl.loading import Change, load, report
from cli.chronosctl.lookup import job_path
from cli.chronosctl.output import Column
from cli.chronosctl.schedules import UPCOMING
from cli.chronosctl.session import Session, output_option, pass_session
from cli.chronosctl.suggesting import suggest_jobs

COLUMNS: Final[tuple[Column, ...]] = (
    ("NAME", "name"), ("STATUS", "schedule_status"), ("SCHEDULE", "schedule"), ("ZONE", "timezone"),
    ("NEXT", "next_fire_time"), ("LAST", "last_fire_time"), ("ID", "id"),
)  # fmt: skip
SORTS: Final = ("name", "-name", "created_at", "-created_at", "next_fire_time", "-next_fire_time")
job_argument = click.argument("job", shell_complete=suggest_jobs)
jobs_argument = click.argument("jobs", nargs=-1, required=True, shell_complete=suggest_jobs)
namespace_option = click.option("-n", "--namespace", help="The namespace to look in.")
files_option = click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE",
    help="YAML or JSON with one or several jobs; - is stdin. May be repeated.",
)  # fmt: skip


@click.group()
def job() -> None:
    """What is to run, and when."""


@job.command("list")
@click.option("--enabled/--disabled", default=None, help="Only these.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only jobs with this tag. May be repeated.")
@click.option("--name-prefix", help="Only names that begin so.")
@click.option("--sort", type=click.Choice(SORTS), default="name", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many at most.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@namespace_option
@output_option
@pass_session
def list_jobs(
    session: Session,
    enabled: bool | None,
    tags: tuple[str, ...],
    name_prefix: str | None,
    sort: str,
    limit: int,
    everything: bool,
    namespace: str | None,
) -> None:
    """List jobs."""
    found = list(
        session.api.pages(
            "/jobs",
            None if everything else limit + 1,
            enabled=None if enabled is None else str(enabled).lower(),
            tag=[tag_of(text) for text in tags] or None,
            name_prefix=name_prefix,
            namespace=namespace,
            sort=sort,
        )
    )
    shown = found if everything else found[:limit]
    session.printer.rows(shown, COLUMNS, empty="no jobs")
    if len(shown) < len(found):
        session.printer.note(f"the first {limit} are shown; --limit or --all show more")


@job.command("get")
@job_argument
@namespace_option
@output_option
@pass_session
def get_job(session: Session, job: str, namespace: str | None) -> None:
    """Show a job, by id or name; its secrets are masked."""
    session.printer.record(session.api.get(job_path(session.api, job, namespace)))


@job.command("create")
@files_option
@output_option
@pass_session
def create_jobs(session: Session, files: tuple[str, ...]) -> None:
    """Create the jobs of files; a name already taken is an error."""
    documents = read_documents(files)
    report(session, load(session, [Change("create", name_of(d), d.source, job=d.body) for d in documents]))


@job.command("update")
@job_argument
@click.option("-f", "--file", "path", required=True, metavar="FILE", help="The whole job; - is stdin.")
@click.option("--if-version", type=click.IntRange(min=1), help="Only if this is still the current version.")
@namespace_option
@output_option
@pass_session
def update_job(session: Session, job: str, path: str, if_version: int | None, namespace: str | None) -> None:
    """Replace a job as a whole; what the file leaves out takes its default."""
    documents = read_documents([path])
    if len(documents) > 1:
        raise bad_input(f"{path} holds {len(documents)} documents", "accepted: one; job apply takes several")
    where = job_path(session.api, job, namespace)
    updated = session.api.call("PUT", where, body=documents[0].body, if_version=if_version).data
    session.printer.done(f"updated {updated['name']}, now version {updated['version']}", updated)


@job.command("delete")
@jobs_argument
@namespace_option
@output_option
@pass_session
def delete_jobs(session: Session, jobs: tuple[str, ...], namespace: str | None) -> None:
    """Delete jobs, and cancel what runs of them; their history stays until it is pruned."""
    for given in jobs:
        path = job_path(session.api, given, namespace)
        session.api.call("DELETE", path)
        session.printer.done(f"deleted {given}", {"id": path.rpartition("/")[2], "deleted": True})


@job.command("enable")
@jobs_argument
@namespace_option
@output_option
@pass_session
def enable_jobs(session: Session, jobs: tuple[str, ...], namespace: str | None) -> None:
    """Let jobs run by their schedules; what passed meanwhile is not caught up."""
    for given in jobs:
        found = session.api.post(job_path(session.api, given, namespace, "/enable"))
        session.printer.done(f"enabled {found['name']}, next at {found['next_fire_time'] or 'no time'}", found)


@job.command("disable")
@jobs_argument
@namespace_option
@output_option
@pass_session
def disable_jobs(session: Session, jobs: tuple[str, ...], namespace: str | None) -> None:
    """Keep jobs from running by their schedules; what runs goes on."""
    for given in jobs:
        found = session.api.post(job_path(session.api, given, namespace, "/disable"))
        session.printer.done(f"disabled {found['name']}", found)


@job.command("trigger")
@job_argument
@click.option("--payload", metavar="JSON", help="Sent in place of the job's body: JSON, text, @FILE or - for stdin.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit status 7 if it is no success.")
@click.option("--timeout", default="10m", show_default=True, help="How long to wait at most.")
@namespace_option
@output_option
@pass_session
def trigger_job(
    session: Session, job: str, payload: str | None, wait: bool, timeout: str, namespace: str | None
) -> None:
    """Run a job now, also a disabled one."""
    try:
        timeout_s = parse_duration_ms(timeout, minimum_ms=1_000) / 1_000
    except InvalidDuration as error:
        raise bad_input(f"--timeout: {error}") from error
    body = {} if payload is None else {"payload": read_value(payload)}
    started = session.api.post(job_path(session.api, job, namespace, "/trigger"), body)
    if wait:
        wait_for(session, started["id"], timeout_s)
    else:
        session.printer.done(f"triggered {started['job_name']}: execution {started['id']}", started)


@job.command("next")
@job_argument
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True)
@namespace_option
@output_option
@pass_session
def next_fire_times(session: Session, job: str, count: int, namespace: str | None) -> None:
    """Show when a job will run."""
    found = session.api.get(job_path(session.api, job, namespace, "/next"), count=count)
    session.printer.rows(found, UPCOMING, empty="no further run: the job is manual, disabled or exhausted")


def tag_of(text: str) -> str:
    """KEY=VALUE as the API writes it.

    Raises:
        CliError: it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise bad_input(f"{text!r} is not a tag", "accepted: KEY=VALUE")
    return f"{key}:{value}"


def name_of(document: Document) -> str:
    """The name a document gives, for messages; the API judges it."""
    name: Any = document.body.get("name")
    return name if isinstance(name, str) else "without a name"
