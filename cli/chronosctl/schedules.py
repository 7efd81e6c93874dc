"""`chronosctl schedule`: trying schedules out before they are used."""

from __future__ import annotations

from typing import Any, Final

import click

from cli.chronosctl.failures import CliError, from_problem
from cli.chronosctl.output import Column
from cli.chronosctl.session import Session, output_option, pass_session

UPCOMING: Final[tuple[Column, ...]] = (("UTC", "fire_time"), ("LOCAL", "local"), ("CLOCK CHANGE", "dst"))
schedule_argument = click.argument("schedule")
timezone_option = click.option(
    "--timezone", default="UTC", show_default=True, help="An IANA name such as Europe/Berlin."
)
count_option = click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True)


@click.group()
def schedule() -> None:
    """When would it run?"""


@schedule.command("validate")
@schedule_argument
@timezone_option
@count_option
@output_option
@pass_session
def validate(session: Session, schedule: str, timezone: str, count: int) -> None:
    """Say a schedule in words, with its coming fire times; exit status 2 if it is none."""
    found = _ask(session, schedule, timezone, count)
    printer = session.printer
    if printer.format != "table":
        printer.data(found)
    elif found["valid"]:
        click.echo(found["description"])
        printer.rows(found["next"], UPCOMING)
    if not found["valid"]:
        raise _refusal(schedule, found)


@schedule.command("next")
@schedule_argument
@timezone_option
@count_option
@output_option
@pass_session
def next_fire_times(session: Session, schedule: str, timezone: str, count: int) -> None:
    """Show the coming fire times of a schedule and nothing else; exit status 2 if it is none."""
    found = _ask(session, schedule, timezone, count)
    if not found["valid"]:
        raise _refusal(schedule, found)
    session.printer.rows(found["next"], UPCOMING, empty="no further fire time")


def _ask(session: Session, schedule: str, timezone: str, count: int) -> dict[str, Any]:
    body = {"schedule": schedule, "timezone": timezone, "count": count}
    found: dict[str, Any] = session.api.post("/schedules/validate", body)
    return found


def _refusal(schedule: str, found: dict[str, object]) -> CliError:
    detail = f"{schedule!r} is no schedule that could be used"
    return from_problem(422, {"code": "invalid_request", "detail": detail, "violations": found["violations"]})
