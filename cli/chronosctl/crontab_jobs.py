"""From an entry of a crontab to a job document, by the templates a person gives. Pure.

`{command}` and `{name}` may stand in the URL, where they are percent-encoded, and with `{stdin}` in the body, where
they are put in as they are. A body template that is JSON stays JSON: only its texts are filled.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote

from cli.chronosctl.crontab import Entry
from cli.chronosctl.failures import bad_input

_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_IN_BODY: Final = re.compile(r"\{(\w+)\}")
_LONGEST_DESCRIPTION: Final = 4_096


def check_templates(url: str, body: str | None = None) -> None:
    """Refuse templates that cannot tell jobs apart.

    Raises:
        CliError: neither has {command} or {name}, or one has a placeholder nobody fills.
    """
    in_url = set(_PLACEHOLDER.findall(url))
    in_body = set(_IN_BODY.findall(body or ""))
    if not url or in_url - {"command", "name"} or not (in_url or in_body & {"command", "name"}):
        accepted = "accepted: a URL with {command} or {name}, such as https://run.example.com/run?cmd={command}"
        raise bad_input(f"--url-template is {url!r}", accepted)
    if in_body - {"command", "name", "stdin"}:
        raise bad_input(f"--body-template is {body!r}", "accepted in braces: {command}, {name} and {stdin}")


def url_of(entry: Entry, template: str) -> str:
    """The webhook of an entry; both placeholders are percent-encoded."""
    values = {"command": entry.command, "name": entry.name}
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)


def body_of(entry: Entry, template: str | None) -> Any:
    """What the webhook sends: the template filled, or without one the entry's standard input; None sends nothing."""
    if template is None:
        return entry.stdin
    values = {"command": entry.command, "name": entry.name, "stdin": entry.stdin or ""}
    try:
        return _filled(json.loads(template), values)
    except ValueError:
        return _filled(template, values)


def loses_stdin(entry: Entry, template: str | None) -> bool:
    """Whether an entry has standard input that a body template leaves out."""
    return entry.stdin is not None and template is not None and "{stdin}" not in template


def job_of(entry: Entry, url: str, tags: dict[str, str], body: str | None = None) -> dict[str, object]:
    """The job document of an entry."""
    webhook: dict[str, object] = {"url": url_of(entry, url)}
    sent = body_of(entry, body)
    if sent is not None:
        webhook["body"] = sent
    user = f" as {entry.user}" if entry.user else ""
    return {
        "name": entry.name,
        "description": f"crontab line {entry.line}{user}: {entry.command}"[:_LONGEST_DESCRIPTION],
        "schedule": entry.schedule,
        "timezone": entry.timezone,
        # cron starts a command whether or not the one before has ended
        "concurrency": "allow",
        "webhook": webhook,
        "tags": tags | ({"user": entry.user} if entry.user else {}),
    }


def _filled(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str):
        return _IN_BODY.sub(lambda found: values[found[1]], value)
    return value
