"""How a command fails: one sentence on stderr, what to do about it, and an exit status by error class.

Exit statuses: 0 done · 1 a defect, or an answer nobody understands · 2 bad input · 3 not allowed · 4 not found ·
5 conflict · 6 nobody could answer in time · 7 the awaited execution did not succeed · 130 interrupted. 2 to 6
come from `chronos_common.errors`, by the problem's code.
"""

from __future__ import annotations

import sys
from typing import IO, Any, Final

import click

from chronos_common.errors import BY_CODE, Conflict, InvalidRequest, NotFound, Unavailable

UNSUCCESSFUL: Final = 7
UNAVAILABLE: Final = Unavailable.exit_status
_BY_HTTP: Final = {kind.http_status: kind.exit_status for kind in BY_CODE.values()} | {400: 2, 415: 2}


class CliError(click.ClickException):
    """An expected failure. `details` are shown one a line under the message."""

    def __init__(self, message: str, status: int = 1, details: tuple[str, ...] = (), code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.details = details
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it on stderr."""
        out = file or sys.stderr
        click.echo(f"chronosctl: {self.message}", file=out)
        for detail in self.details:
            click.echo(f"  {detail}", file=out)


def bad_input(message: str, *details: str) -> CliError:
    """What was given cannot be used."""
    return CliError(message, InvalidRequest.exit_status, details, InvalidRequest.code)


def not_found(message: str, *details: str) -> CliError:
    """There is no such thing."""
    return CliError(message, NotFound.exit_status, details, NotFound.code)


def ambiguous(message: str, *details: str) -> CliError:
    """There are several such things."""
    return CliError(message, Conflict.exit_status, details, Conflict.code)


def from_problem(status: int, problem: dict[str, Any]) -> CliError:
    """A problem document (RFC 9457) as a failure."""
    code = str(problem.get("code", ""))
    known = BY_CODE.get(code)
    exit_code = known.exit_status if known else _BY_HTTP.get(status, 1)
    message = str(problem.get("detail") or problem.get("title") or f"the API answered {status}")
    details = tuple(_violation(item) for item in problem.get("violations") or () if isinstance(item, dict))
    return CliError(message, exit_code, details, code)


def _violation(item: dict[str, Any]) -> str:
    accepted = f"; accepted: {item['accepted']}" if item.get("accepted") else ""
    return f"{item.get('pointer') or '/'}: {item.get('message', '')}{accepted}"
