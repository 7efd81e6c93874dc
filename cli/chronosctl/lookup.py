"""From what people call a job to its id."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from cli.chronosctl.client import Api
from cli.chronosctl.failures import ambiguous, bad_input, not_found

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def job_id(api: Api, given: str, namespace: str | None = None) -> str:
    """The id of the job with this id or name.

    Raises:
        CliError: there is no job of this name, or several namespaces have one.
    """
    if _ID.fullmatch(given):
        return given.lower()
    found = named(api, given, namespace)
    if not found:
        where = f" in namespace {namespace!r}" if namespace else ""
        raise not_found(f"there is no job named {given!r}{where}", "chronosctl job list shows all names")
    if len(found) > 1:
        choices = (f"{job['id']} in namespace {job['namespace']}" for job in found)
        raise ambiguous(f"{len(found)} jobs are named {given!r}; say --namespace, or use an id", *choices)
    return str(found[0]["id"])


def named(api: Api, name: str, namespace: str | None = None) -> list[dict[str, Any]]:
    """All jobs of exactly this name: one a namespace at most."""
    if not name:
        raise bad_input("an empty text names no job", "accepted: a job's id or its name")
    jobs = api.pages("/jobs", name_prefix=name, namespace=namespace, sort="name")
    found: list[dict[str, Any]] = []
    for job in jobs:
        if job["name"] != name and found:
            break  # sorted by name: the exact matches come first
        if job["name"] == name:
            found.append(job)
    return found


def execution_id(given: str) -> str:
    """An execution's id as it goes into a path.

    Raises:
        CliError: it is none.
    """
    if not _ID.fullmatch(given):
        raise bad_input(f"{given!r} is not an execution id", "chronosctl execution list shows ids")
    return given.lower()


def job_path(api: Api, given: str, namespace: str | None, rest: str = "") -> str:
    """The path of a job below /api/v1."""
    return f"/jobs/{quote(job_id(api, given, namespace), safe='')}{rest}"
