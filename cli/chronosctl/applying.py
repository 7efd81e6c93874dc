"""`chronosctl job apply | export`: a set of jobs kept in files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from cli.chronosctl.diffing import unified
from cli.chronosctl.documents import Document, read_documents
from cli.chronosctl.failures import bad_input
from cli.chronosctl.jobs import files_option, namespace_option, tag_of
from cli.chronosctl.loading import FEW, load, report
from cli.chronosctl.lookup import named
from cli.chronosctl.output import yaml_text
from cli.chronosctl.planning import Name, Step, name_of, plan, prune
from cli.chronosctl.session import Session, output_option, pass_session

_GIVEN_BY_THE_SERVER: Final = (
    "id", "version", "created_at", "updated_at", "next_fire_time", "last_fire_time", "schedule_status",
)  # fmt: skip


@click.command("apply")
@files_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--prune", "pruning", is_flag=True, help="Delete jobs of the selector that no file names.")
@click.option("--selector", "selectors", multiple=True, metavar="KEY=VALUE", help="The tags --prune keeps to.")
@click.option("--send-secrets", is_flag=True, help="Send jobs with secrets even if nothing else differs.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@output_option
@pass_session
def apply_jobs(
    session: Session,
    *,
    files: tuple[str, ...],
    dry_run: bool,
    pruning: bool,
    selectors: tuple[str, ...],
    send_secrets: bool,
    yes: bool,
) -> None:
    """Create or update the jobs of files, by name; doing it twice changes nothing the second time.

    With --prune, jobs that carry every --selector tag and are in no file are deleted, in the namespaces the files
    speak of.
    """
    if pruning != bool(selectors):
        raise bad_input("--prune and --selector go together", "accepted: --prune --selector KEY=VALUE")
    documents = read_documents(files)
    steps = plan(documents, _stored(session, documents), send_secrets=send_secrets)
    if pruning:
        candidates = list(session.api.pages("/jobs", tag=[tag_of(text) for text in selectors]))
        steps += prune(steps, candidates, ", ".join(selectors))
    if dry_run:
        _show(session, steps)
        return
    _confirm(session, steps, yes=yes)
    unchanged = sum(step.change is None for step in steps)
    outcomes = load(session, [step.change for step in steps if step.change is not None])
    if unchanged:
        session.printer.note(f"{unchanged} of {len(steps)} unchanged")
    if any(step.change is None and "secrets" in step.action for step in steps):
        session.printer.note("secrets cannot be compared; --send-secrets sends them anew")
    report(session, outcomes)


@click.command("export")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only jobs with this tag. May be repeated.")
@namespace_option
@output_option
@pass_session
def export_jobs(session: Session, tags: tuple[str, ...], namespace: str | None) -> None:
    """Print jobs as documents for apply; secrets are masked, and apply keeps the stored ones."""
    found = session.api.pages("/jobs", tag=[tag_of(text) for text in tags] or None, namespace=namespace)
    documents = [{k: v for k, v in item.items() if k not in _GIVEN_BY_THE_SERVER} for item in found]
    if session.printer.format == "json":
        session.printer.data(documents)
        return
    for document in documents:
        click.echo("---\n" + yaml_text(document), nl=False)


def _stored(session: Session, documents: Sequence[Document]) -> dict[Name, dict[str, Any]]:
    """The jobs the documents may mean: asked for by name while they are few, else by reading all."""
    names = [name_of(document) for document in documents]
    if len(names) <= FEW:
        found = [item for namespace, name in names for item in named(session.api, name, namespace)]
    else:
        wanted = set(names)
        everything = session.api.pages("/jobs")
        found = [item for item in everything if (item["namespace"], item["name"]) in wanted]
    return {(item["namespace"], item["name"]): item for item in found}


def _show(session: Session, steps: Sequence[Step]) -> None:
    if session.printer.format != "table":
        told = [
            {"action": step.action, "namespace": step.name[0], "name": step.name[1], "differences": step.differences}
            for step in steps
        ]
        session.printer.data(told)
        return
    for step in steps:
        click.echo(f"{step.action}: {step.name[1]}")
        session.printer.diff(unified(step))
    counts = {
        action: sum(step.action.startswith(action) for step in steps) for action in ("create", "update", "delete")
    }
    session.printer.note(
        ", ".join(f"{count} to {action}" for action, count in counts.items()) + "; nothing was changed"
    )


def _confirm(session: Session, steps: Sequence[Step], *, yes: bool) -> None:
    doomed = [step.name[1] for step in steps if step.action == "delete"]
    if not doomed or yes:
        return
    if not session.interactive:
        raise bad_input(f"--prune would delete {len(doomed)} job(s): {', '.join(doomed[:10])}", "say --yes to do so")
    session.printer.note("to be deleted: " + ", ".join(doomed))
    click.confirm(f"Delete {len(doomed)} job(s)?", abort=True, err=True)
