"""What a shell may complete: names of jobs and ids of executions, asked of the server.

A person waits with the Tab key down, so the server has a second; whatever goes wrong there is no suggestion, and
never a message in the middle of a command line.
"""

from __future__ import annotations

import os
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from cli.chronosctl.client import Api
from cli.chronosctl.failures import CliError
from cli.chronosctl.settings import resolve

WAIT_S: Final = 1.0
_MOST_JOBS: Final = 100
_MOST_EXECUTIONS: Final = 50


def suggest_jobs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of jobs that begin so, each with its schedule."""
    found = _ask(
        ctx, "/jobs", _MOST_JOBS,
        name_prefix=incomplete or None, namespace=ctx.params.get("namespace"), sort="name",
    )  # fmt: skip
    return [CompletionItem(item["name"], help=item.get("schedule") or "manual") for item in found]


def suggest_executions(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest executions that begin so, each with its job and status."""
    found = _ask(ctx, "/executions", _MOST_EXECUTIONS)
    return [
        CompletionItem(item["id"], help=f"{item['job_name']} {item['status']}")
        for item in found
        if item["id"].startswith(incomplete.lower())
    ]


def _ask(ctx: click.Context, path: str, most: int, **query: Any) -> list[dict[str, Any]]:
    root = ctx.find_root()
    try:
        found = resolve(root.params, os.environ if root.obj is None else root.obj)
        api = Api(
            str(found["server"].value), found["api_key"].value, ca=found["ca"].value,
            connect_s=WAIT_S, read_s=WAIT_S, patience_s=0.0,
        )  # fmt: skip
        return list(api.pages(path, most, **query))
    except (CliError, LookupError, TypeError):
        return []
