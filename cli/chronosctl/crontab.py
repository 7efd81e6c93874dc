r"""Reading a crontab as crontab(5) and cronie describe it. Pure: text in, entries and remarks out.

Per line: blank, comment (`#` first), `NAME = value`, or five fields (or a word such as @daily) and a command. The
last CRON_TZ (or TZ) above a line is its time zone. In a command an unescaped `%` ends it and begins what the command
would get on standard input, further ones being line breaks; `\%` is a plain `%`. A system crontab (/etc/crontab,
/etc/cron.d) has a user between fields and command. A field prefix `-` (cronie: do not log) is dropped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from chronos_common.schedules import InvalidSchedule, InvalidTimezone, parse_schedule
from cli.chronosctl.failures import bad_input

_SETTING: Final = re.compile(r"""\s*(?P<name>"[^"=]+"|'[^'=]+'|[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*""")
_PERCENT: Final = re.compile(r"(?<!\\)%")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?(?::[A-Za-z0-9_.-]+)?(?:/\S+)?")
_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_ZONES: Final = ("CRON_TZ", "TZ")
_NAME_LENGTH: Final = 60
_FIELDS: Final = 5


class Entry(NamedTuple):
    """A line that runs a command. `line` counts from 1; `stdin` is None without an unescaped `%`."""

    line: int
    name: str
    schedule: str
    timezone: str
    command: str
    stdin: str | None
    user: str | None


class Remark(NamedTuple):
    """Something about a line that its owner has to know. `refused`: the line became no job."""

    line: int
    text: str
    refused: bool


class Crontab(NamedTuple):
    """What a crontab holds."""

    entries: list[Entry]
    remarks: list[Remark]


class _Line(NamedTuple):
    schedule: str
    user: str | None
    command: str
    stdin: str | None


def parse_crontab(text: str, *, system: bool = False, timezone: str = "UTC") -> Crontab:
    """The entries of a crontab. `timezone` holds for lines above the first CRON_TZ or TZ."""
    entries: list[Entry] = []
    remarks: list[Remark] = []
    names: dict[str, int] = {}
    zone = timezone
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        setting = _SETTING.fullmatch(line)
        if setting:
            name, value = setting["name"].strip("\"'"), _unquoted(setting["value"])
            if name in _ZONES:
                zone = value or timezone
            remarks += _about_setting(number, name, value)
            continue
        try:
            parts = _split(line, system=system)
            parse_schedule(parts.schedule, zone, allow_seconds=False)
        except InvalidSchedule as error:
            remarks.append(Remark(number, f"{error.problem}; {error.hint}", refused=True))
        except (InvalidTimezone, ValueError) as error:
            remarks.append(Remark(number, str(error), refused=True))
        else:
            name = _name(parts, names)
            entries.append(Entry(number, name, parts.schedule, zone, parts.command, parts.stdin, parts.user))
    return Crontab(entries, remarks)


def check_template(template: str) -> None:
    """Refuse a URL template that cannot tell jobs apart.

    Raises:
        CliError: it has neither {command} nor {name}, or something else in braces.
    """
    found = set(_PLACEHOLDER.findall(template))
    if not found or found - {"command", "name"}:
        accepted = "accepted: a URL with {command} or {name}, such as https://run.example.com/run?cmd={command}"
        raise bad_input(f"--url-template is {template!r}", accepted)


def url_of(entry: Entry, template: str) -> str:
    """The webhook of an entry; both placeholders are percent-encoded."""
    values = {"command": entry.command, "name": entry.name}
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)


def job_of(entry: Entry, template: str, tags: dict[str, str]) -> dict[str, object]:
    """The job document of an entry. Standard input becomes the body."""
    webhook: dict[str, object] = {"url": url_of(entry, template)}
    if entry.stdin is not None:
        webhook["body"] = entry.stdin
    user = f" as {entry.user}" if entry.user else ""
    return {
        "name": entry.name,
        "description": f"crontab line {entry.line}{user}: {entry.command}"[:4_096],
        "schedule": entry.schedule,
        "timezone": entry.timezone,
        # cron starts a command whether or not the one before has ended
        "concurrency": "allow",
        "webhook": webhook,
        "tags": tags | ({"user": entry.user} if entry.user else {}),
    }


def _split(line: str, *, system: bool) -> _Line:
    words = line.split(None, 1) if line.startswith("@") else _fields(line)
    schedule, rest = words[0], words[1] if len(words) > 1 else ""
    if schedule in ("@every", "@at"):
        raise ValueError(f"{schedule} is no word of crontab(5)")
    user = None
    if system:
        user, rest = (*rest.split(None, 1), "", "")[:2]
        if not _USER.fullmatch(user):
            raise ValueError(f"{user!r} is not a user name; without --system the command follows the fields")
    return _command(schedule, user, rest.strip())


def _fields(line: str) -> list[str]:
    words = line.removeprefix("-").split(None, _FIELDS)
    if len(words) < _FIELDS:
        raise ValueError(f"{line!r:.60} has {len(words)} field(s); accepted: 5 fields or a word, then a command")
    return [" ".join(words[:_FIELDS]), *words[_FIELDS:]]


def _command(schedule: str, user: str | None, rest: str) -> _Line:
    command, *inputs = _PERCENT.split(rest)
    plain = command.replace("\\%", "%").strip()
    if not plain:
        raise ValueError("there is no command after the schedule")
    stdin = "\n".join(inputs).replace("\\%", "%") + "\n" if inputs else None
    return _Line(schedule, user, plain, stdin)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _about_setting(number: int, name: str, value: str) -> Sequence[Remark]:
    if name == "CRON_TZ":
        return ()
    if name == "TZ":
        return (Remark(number, f"TZ={value}: taken as CRON_TZ, the zone of the lines below", refused=False),)
    if name == "MAILTO":
        who = value or "nobody"
        return (Remark(number, f"MAILTO={who}: nothing is mailed; failures are in the executions", refused=False),)
    return (Remark(number, f"{name}={value}: a webhook has no environment; the target has to set it", refused=False),)


def _name(parts: _Line, names: dict[str, int]) -> str:
    """A name from what is run: it stays when the schedule changes, and when other lines come and go.

    Lines that run the same are told apart by counting them.
    """
    words = [word.rsplit("/", 1)[-1] for word in parts.command.split() if "=" not in word]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(words)).strip("-.").lower()[:_NAME_LENGTH].rstrip("-.")
    key = "\0".join((parts.user or "", parts.command, parts.stdin or ""))
    name = f"{readable or 'job'}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}-{names[name]}"
