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

from chronos_common.schedules import InvalidSchedule, InvalidTimezone, parse_schedule

_SETTING: Final = re.compile(r"""\s*(?P<name>"[^"=]+"|'[^'=]+'|[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*""")
_PERCENT: Final = re.compile(r"(?<!\\)%")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?(?::[A-Za-z0-9_.-]+)?(?:/\S+)?")
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
