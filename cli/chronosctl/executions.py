"""`chronosctl execution`: what ran, and what did not."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import click

from chronos_common.errors import NotFound
from cli.chronosctl.client import Api
from cli.chronosctl.failures import UNAVAILABLE, UNSUCCESSFUL, CliError
from cli.chronosctl.lookup import execution_id, job_path
from cli.chronosctl.output import Column
from cli.chronosctl.session import Session, output_option, pass_session
from cli.chronosctl.suggesting import suggest_executions, suggest_jobs

STATUSES: Final = ("pending", "running", "succeeded", "failed", "skipped", "cancelled")
TRIGGERS: Final = ("schedule", "manual", "replay")
FINAL: Final = frozenset(("succeeded", "failed", "skipped", "cancelled"))
COLUMNS: Final[tuple[Column, ...]] = (
    ("FIRE TIME", "fire_time"), ("STATUS", "status"), ("TRIGGER", "trigger"), ("ATTEMPTS", "attempt_count"),
    ("ID", "id"), ("JOB", "job_name"), ("REASON", "reason"),
)  # fmt: skip
WIDTHS: Final = (24, 9, 8, 8, 36, 24)
_REMEMBERED: Final = 20_000
_LOOK_BACK: Final = 1_000
_LOOK_PAGE: Final = 100
_FOLLOWED: Final = 20
"""How many unfinished executions off the pages a look asks for one by one."""


@click.group()
def execution() -> None:
    """What ran, and what did not."""


@execution.command("list")
@click.argument("job", required=False, shell_complete=suggest_jobs)
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only these. May be repeated.")
@click.option("--trigger", type=click.Choice(TRIGGERS), help="Only executions that began so.")
@click.option("--since", metavar="INSTANT", help="Fire time not before this, such as 2030-01-01T09:00:00Z.")
@click.option("--until", metavar="INSTANT", help="Fire time before this.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option("--watch", is_flag=True, help="Go on, and print each execution as it changes, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="In seconds.")
@click.option("-n", "--namespace", help="The namespace to look in.")
@output_option
@pass_session
def list_executions(
    session: Session,
    *,
    job: str | None,
    statuses: tuple[str, ...],
    trigger: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    watch: bool,
    interval: float,
    namespace: str | None,
) -> None:
    """List executions, of one job or of all, the newest fire time first."""
    path = "/executions" if job is None else job_path(session.api, job, namespace, "/executions")
    query: dict[str, Any] = {"status": list(statuses) or None, "trigger": trigger, "since": since, "until": until}
    if job is None:
        query["namespace"] = namespace
    if watch:
        _watch(session, path, query, limit, interval)
        return
    session.printer.rows(session.api.pages(path, limit, **query), COLUMNS, empty="no executions")


@execution.command("get")
@click.argument("execution", shell_complete=suggest_executions)
@output_option
@pass_session
def get_execution(session: Session, execution: str) -> None:
    """Show an execution with all its attempts."""
    session.printer.record(session.api.get(f"/executions/{execution_id(execution)}"))


@execution.command("cancel")
@click.argument("executions", nargs=-1, required=True, shell_complete=suggest_executions)
@output_option
@pass_session
def cancel_executions(session: Session, executions: tuple[str, ...]) -> None:
    """Cancel pending or running executions; a running request is aborted."""
    for given in executions:
        found = session.api.post(f"/executions/{execution_id(given)}/cancel")
        session.printer.done(f"{found['id']} of {found['job_name']} is {found['status']}", found)


@execution.command("replay")
@click.argument("execution", shell_complete=suggest_executions)
@click.option("--wait", is_flag=True, help="Wait for the end, at most 10 minutes; exit status 7 if it is no success.")
@output_option
@pass_session
def replay_execution(session: Session, execution: str, wait: bool) -> None:
    """Run an execution again, with the job version and payload it had."""
    found = session.api.post(f"/executions/{execution_id(execution)}/replay")
    if wait:
        wait_for(session, found["id"], 600.0)
    else:
        session.printer.done(f"replays as execution {found['id']} of {found['job_name']}", found)


def wait_for(session: Session, given: str, timeout_s: float) -> None:
    """Wait for the end of an execution and show it.

    Raises:
        CliError: status 7, it ended without success; status 6, it did not end in time.
    """
    give_up_at = session.clock() + timeout_s
    pause_s = 0.1
    while (found := session.api.get(f"/executions/{given}"))["status"] not in FINAL:
        if session.clock() + pause_s > give_up_at:
            raise CliError(f"execution {given} is still {found['status']} after {timeout_s:g} s", UNAVAILABLE)
        session.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 2.0)
    session.printer.record(found)
    if found["status"] != "succeeded":
        reason = f": {found['reason']}" if found.get("reason") else ""
        raise CliError(f"execution {given} of {found['job_name']} {found['status']}{reason}", UNSUCCESSFUL)


def _watch(session: Session, path: str, query: dict[str, Any], limit: int, interval_s: float) -> None:
    if session.printer.format == "table":
        session.printer.line({name: head for head, name in COLUMNS}, COLUMNS, WIDTHS)
    news = News(session.api, path, query)
    for item in news.look()[-limit:]:
        session.printer.line(item, COLUMNS, WIDTHS)
    while True:
        session.sleep(interval_s)
        for item in news.look():
            session.printer.line(item, COLUMNS, WIDTHS)


class News:
    """What is new or has changed since the last look; remembers a bounded number.

    A look reads the newest executions as far back as they are news, and asks for those it saw unfinished.
    """

    def __init__(self, api: Api, path: str, query: dict[str, Any]) -> None:
        self._api = api
        self._path = path
        self._query = query
        self._seen: OrderedDict[str, tuple[Any, ...]] = OrderedDict()
        self._unfinished: OrderedDict[str, None] = OrderedDict()

    def look(self) -> list[dict[str, Any]]:
        """The news, the oldest fire time first."""
        found: list[dict[str, Any]] = []
        looked_at: set[str] = set()
        cursor = None
        while len(looked_at) < _LOOK_BACK:
            page = self._api.get(self._path, **self._query, limit=_LOOK_PAGE, cursor=cursor)
            news = [item for item in page["items"] if self._note(item)]
            found += news
            looked_at.update(item["id"] for item in page["items"])
            cursor = page["next_cursor"]
            if cursor is None or len(news) < len(page["items"]):
                break
        if not self._query.get("status"):
            found += self._followed(looked_at)
        return sorted(found, key=lambda item: str(item["fire_time"]))

    def _followed(self, looked_at: set[str]) -> list[dict[str, Any]]:
        """Changes of unfinished executions that newer ones have pushed off the pages."""
        found = []
        for given in [given for given in self._unfinished if given not in looked_at][:_FOLLOWED]:
            try:
                item = self._api.get(f"/executions/{given}")
            except CliError as failure:
                if failure.code != NotFound.code:
                    raise
                del self._unfinished[given]
                continue
            if self._note(item):
                found.append(item)
        return found

    def _note(self, item: dict[str, Any]) -> bool:
        """Remember an execution as it is, and say whether that is news."""
        given = item["id"]
        self._unfinished.pop(given, None)
        if item["status"] not in FINAL:
            self._unfinished[given] = None
        state = (item["status"], item["attempt_count"], item["lost_count"])
        is_news = self._seen.pop(given, None) != state
        self._seen[given] = state
        for bounded in (self._seen, self._unfinished):
            while len(bounded) > _REMEMBERED:
                bounded.popitem(last=False)
        return is_news
