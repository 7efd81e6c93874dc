"""Where a setting comes from: the command line, the environment, the file of this user, or its default."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from chronos_common.config import BadYaml, read_yaml
from chronos_common.durations import InvalidDuration, parse_duration_ms
from cli.chronosctl.failures import bad_input
from cli.chronosctl.output import FORMATS

NAMES: Final = ("server", "api_key", "output", "ca", "timeout")
DEFAULTS: Final = {"server": "http://127.0.0.1:8080", "output": "table", "timeout": "90s"}
_VARIABLES: Final = {"server": "CHRONOS_SERVER", "api_key": "CHRONOS_API_KEY"}
_SHORTEST_MS: Final = 100


class Setting(NamedTuple):
    """A value, and in words where it was found."""

    value: str | None
    origin: str


def resolve(given: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, Setting]:
    """Every setting of this run. `given` are the options of the command line, by the setting's name.

    Raises:
        CliError: the file of settings cannot be used, or a value is none that could be.
    """
    path = settings_path(environ)
    file = read_settings(path)
    found = {name: _first(name, given, environ, file, path) for name in NAMES}
    _check(found)
    return found


def settings_path(environ: Mapping[str, str]) -> Path:
    """Where the settings of this user are: below XDG_CONFIG_HOME, or ~/.config."""
    base = environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(base) / "chronos" / "config.yaml"


def read_settings(path: Path) -> dict[str, str]:
    """The settings of a file; none if there is no file.

    Raises:
        CliError: it cannot be read, is no mapping of texts, or has an unknown key.
    """
    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, BadYaml) as error:
        raise bad_input(f"{path} cannot be used: {error}") from error
    found = documents[0] if documents else None
    if found is None:
        return {}
    if len(documents) > 1 or not isinstance(found, dict):
        raise bad_input(f"{path} must hold one mapping", f"accepted: {', '.join(NAMES)}")
    for name, value in found.items():
        if name not in NAMES or not isinstance(value, str):
            raise bad_input(f"{path}: {name}: is not a text setting here", f"accepted: {', '.join(NAMES)}")
    return found


def key_is_exposed(path: Path) -> bool:
    """Whether others than its owner may read a file."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _first(
    name: str, given: Mapping[str, str | None], environ: Mapping[str, str], file: Mapping[str, str], path: Path
) -> Setting:
    variable = _VARIABLES.get(name, "")
    if given.get(name):
        return Setting(given[name], f"--{name}")
    if environ.get(variable):
        return Setting(environ[variable], variable)
    if file.get(name):
        return Setting(file[name], str(path))
    return Setting(DEFAULTS.get(name), "default" if name in DEFAULTS else "not set")


def _check(found: Mapping[str, Setting]) -> None:
    output, timeout, key = found["output"], found["timeout"], found["api_key"].value
    if output.value not in FORMATS:
        raise bad_input(f"{output.origin}: output is {output.value!r}", f"accepted: {', '.join(FORMATS)}")
    try:
        parse_duration_ms(str(timeout.value), minimum_ms=_SHORTEST_MS)
    except InvalidDuration as error:
        raise bad_input(f"{timeout.origin}: timeout: {error}") from error
    if key is not None and not (key.isascii() and key.isprintable()):
        raise bad_input("the API key holds characters that no header can carry", "accepted: printable ASCII")
