"""What `job apply` would do: files against what is stored. Pure; nothing is sent here.

A document says the whole job. What it leaves out takes its default, except where the default is the server's to
choose (timeout, retry_policy, misfire.policy): there the stored value stays. Secrets are masked in answers, so they
cannot be compared; a job that may differ in them only counts as unchanged, and says that it holds some.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

from marshmallow import ValidationError

from chronos_common.errors import InvalidRequest, Violation
from chronos_common.schemas.job import Defaults, JobDocument, document_of, spec_of
from chronos_common.schemas.problems import escape, flatten
from chronos_common.schemas.secrets import MASK, differences, is_secret_header
from cli.chronosctl.documents import Document
from cli.chronosctl.failures import bad_input, from_problem
from cli.chronosctl.loading import Change

Name = tuple[str, str]
"""A namespace and a name: what apply knows a job by."""
_SECRETS = ("password", "token", "api_key")
_schema = JobDocument()


class Step(NamedTuple):
    """One change to be made, or none: `change` is None where nothing differs. `differences` as the API lists them.

    `before` is the job as it is stored, `after` as it would be, both masked. `secrets` are pointers to those the
    file holds in clear, where more may differ than can be seen.
    """

    name: Name
    action: str
    change: Change | None
    differences: list[dict[str, Any]]
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    secrets: tuple[str, ...] = ()


def plan(documents: Sequence[Document], stored: dict[Name, dict[str, Any]], *, send_secrets: bool) -> list[Step]:
    """The steps that make what is stored like the documents.

    Raises:
        CliError: a document is no valid job, or a name is given twice.
    """
    seen: dict[Name, str] = {}
    steps = []
    for document in documents:
        known_as = name_of(document)
        if known_as in seen:
            raise bad_input(f"{document.source}: the job {known_as[1]!r} is already in {seen[known_as]}")
        seen[known_as] = document.source
        steps.append(_step(document, known_as, stored.get(known_as), send_secrets=send_secrets))
    return steps


def prune(kept: Sequence[Step], candidates: Sequence[dict[str, Any]], selector: str) -> list[Step]:
    """The deletions of the candidates no document names, within the namespaces the documents speak of."""
    names = {step.name for step in kept}
    namespaces = {namespace for namespace, _ in names}
    return [
        Step(known_as, "delete", Change("delete", job["name"], f"--prune {selector}", job["id"]), [])
        for job in candidates
        if (known_as := (job["namespace"], job["name"])) not in names and job["namespace"] in namespaces
    ]


def name_of(document: Document) -> Name:
    """What apply knows a document's job by.

    Raises:
        CliError: it has no name.
    """
    name, namespace = document.body.get("name"), document.body.get("namespace", "default")
    if not isinstance(name, str) or not name or not isinstance(namespace, str):
        raise bad_input(f"{document.source} has no name", "accepted: a job with name and webhook")
    return namespace, name


def _step(document: Document, known_as: Name, stored: dict[str, Any] | None, *, send_secrets: bool) -> Step:
    body = document.body
    if stored is None:
        change = Change("create", known_as[1], document.source, job=body)
        wanted = _complete(body, document.source)
        written = {name: value for name, value in wanted.items() if name in body}
        return Step(known_as, "create", change, differences({}, wanted), after=written)
    kept = _with_stored_choices(body, stored)
    wanted = _complete(kept, document.source)
    found = differences({name: stored.get(name) for name in wanted}, wanted)
    secrets = secrets_in(body)
    if not found and not (secrets and send_secrets):
        action = "unchanged, secrets not compared" if secrets else "unchanged"
        return Step(known_as, action, None, [], secrets=secrets)
    change = Change("update", known_as[1], document.source, stored["id"], kept, stored["version"])
    return Step(known_as, "update", change, found, before=stored, after=wanted, secrets=secrets)


def _with_stored_choices(body: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(body)
    kept.setdefault("timeout", stored["timeout"])
    retry, misfire = kept.get("retry_policy", {}), kept.get("misfire", {})
    if isinstance(retry, dict):
        kept["retry_policy"] = {**stored["retry_policy"], **retry}
    if isinstance(misfire, dict):
        kept["misfire"] = {"policy": stored["misfire"]["policy"], **misfire}
    return kept


def _complete(body: dict[str, Any], source: str) -> dict[str, Any]:
    """The document in full, as the API would answer it."""
    try:
        return document_of(spec_of(_schema.load(body), Defaults.built_in()))
    except ValidationError as error:
        violations = [_plain(item) for item in flatten(error.messages)]
        detail = f"{source}: the job has {len(violations)} problem(s)"
        problem = {"code": InvalidRequest.code, "detail": detail, "violations": violations}
        raise from_problem(InvalidRequest.http_status, problem) from error


def _plain(violation: Violation) -> dict[str, Any]:
    return {"pointer": violation.pointer, "message": violation.message, "accepted": violation.accepted}


def secrets_in(body: dict[str, Any]) -> tuple[str, ...]:
    """Pointers to the secrets a valid document holds in clear, which an answer would mask."""
    webhook = body["webhook"]
    headers, auth = webhook.get("headers") or {}, webhook.get("auth") or {}
    found = {f"/webhook/headers/{escape(name)}": value for name, value in headers.items() if is_secret_header(name)}
    found |= {f"/webhook/auth/{name}": auth[name] for name in _SECRETS if name in auth}
    return tuple(pointer for pointer, value in found.items() if value != MASK)
