"""`chronosctl schedule`: trying schedules out before they are used."""

from __future__ import annotations

import click

from cli.chronosctl.failures import CliError, from_problem
from cli.chronosctl.session import Session, output_option, pass_session


@click.group()
def schedule() -> None:
    """When would it run?"""


@schedule.command("validate")
@click.argument("schedule")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA name such as Europe/Berlin.")
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True)
@output_option
@pass_session
def validate(session: Session, schedule: str, timezone: str, count: int) -> None:
    """Say a schedule in words, with its coming fire times; exit status 2 if it is none."""
    body = {"schedule": schedule, "timezone": timezone, "count": count}
    found = session.api.post("/schedules/validate", body)
    printer = session.printer
    if printer.format != "table":
        printer.data(found)
    elif found["valid"]:
        click.echo(found["description"])
        printer.rows(found["next"], [("UTC", "fire_time"), ("LOCAL", "local"), ("CLOCK CHANGE", "dst")])
    if not found["valid"]:
        raise _refusal(schedule, found)


def _refusal(schedule: str, found: dict[str, object]) -> CliError:
    detail = f"{schedule!r} is no schedule that could be used"
    return from_problem(422, {"code": "invalid_request", "detail": detail, "violations": found["violations"]})
