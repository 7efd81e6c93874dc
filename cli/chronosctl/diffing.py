"""What a step of `job apply` would change, as a unified diff of YAML. Pure."""

from __future__ import annotations

import difflib
from typing import Any, Final

from cli.chronosctl.output import yaml_text
from cli.chronosctl.planning import Step

_LINES_AROUND: Final = 3


def unified(step: Step) -> list[str]:
    """The lines of the diff of a job to be created or updated.

    Secrets are masked on both sides, so they are no difference; those the file holds in clear are told below, since
    nobody can say whether the stored ones are the same.
    """
    told = [f"{pointer}: (secret, may differ)" for pointer in step.secrets]
    if step.after is None or step.change is None:
        return told
    old = "nothing" if step.before is None else f"version {step.before['version']}"
    before = None if step.before is None else {name: step.before.get(name) for name in step.after}
    lines = difflib.unified_diff(
        _lines(_ordered(before, step.after)),
        _lines(step.after),
        f"{step.name[1]} ({old})",
        f"{step.name[1]} ({step.change.source})",
        n=_LINES_AROUND,
        lineterm="",
    )
    return [*lines, *told]


def _ordered(value: Any, like: Any) -> Any:
    """A value with its keys in the order of another, so that order makes no difference."""
    if not (isinstance(value, dict) and isinstance(like, dict)):
        return value
    shared = [name for name in like if name in value]
    return {name: _ordered(value[name], like.get(name)) for name in [*shared, *(n for n in value if n not in like)]}


def _lines(document: Any) -> list[str]:
    return [] if document is None else yaml_text(document).splitlines()
