"""The configuration of a node: one YAML file, environment overrides, no surprises.

Every key is in `keys`; an unknown one is refused with its path. `$` means nothing in values.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from chronos_common.config.checks import is_loopback, problems_of, split_address
from chronos_common.config.keys import ApiKey, Config
from chronos_common.config.reading import Reader, is_text, variables
from chronos_common.config.yaml_text import BadYaml, read_yaml
from chronos_common.durations import format_duration

__all__ = [
    "BadYaml", "Config", "InvalidConfig", "control_url", "default_path", "is_loopback", "load_config",
    "read_api_keys", "read_secret", "read_yaml", "shown", "split_address",
]  # fmt: skip

KEYS_FILE: Final = "api-keys.json"
SECRET_FILE: Final = "control.secret"  # noqa: S105 - a file's name
NOT_CONFIGURATION: Final = {
    "CHRONOS_CONFIG", "CHRONOS_SERVER", "CHRONOS_API_KEY", "CHRONOS_ADMIN_KEY", "CHRONOS_SCHEDULE_EXAMPLES",
}  # fmt: skip
"""Variables of the programs themselves, which override no key."""


class InvalidConfig(Exception):
    """The configuration cannot be used; `problems` are all the reasons, one sentence each."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(f"{source}: " + "; ".join(problems))
        self.source = source
        self.problems = problems


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a file (None: all defaults) with overrides from `environ`.

    Raises:
        InvalidConfig: with every problem found.
    """
    source = str(path) if path else "the built-in configuration"
    document = _document(path, source)
    reader = Reader()
    _override(document, environ, reader.problems)
    config: Config = reader.read(document, Config, "")
    problems = reader.problems or list(problems_of(config, has_keys=bool(read_api_keys(config))))
    if config.cluster.raft.peers and "node_id" not in (document.get("cluster") or {}):
        problems.append("cluster.node_id is missing; with cluster.raft.peers every node needs a name of its own")
    if problems:
        raise InvalidConfig(source, problems)
    return config


def _document(path: Path | None, source: str) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(source, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InvalidConfig(source, [f"is not UTF-8: {error}"]) from error
    except BadYaml as error:
        raise InvalidConfig(source, [f"is not acceptable YAML: {error}"]) from error
    found = [document for document in documents if document is not None]
    if len(found) > 1 or not all(isinstance(document, dict) for document in found):
        raise InvalidConfig(source, ["must hold one mapping of keys"])
    return dict(found[0]) if found else {}


def _override(document: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    known = variables(Config)
    for name in sorted(environ):
        if not name.startswith("CHRONOS_") or name in NOT_CONFIGURATION:
            continue
        if name not in known:
            near = get_close_matches(name, known, n=1)
            problems.append(f"{name} overrides no key; {f'did you mean {near[0]}?' if near else 'unset it'}")
            continue
        try:
            _put(document, known[name], environ[name])
        except BadYaml as error:
            problems.append(f"{name} is not acceptable YAML: {error}")


def _put(document: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    *sections, key = path
    for section in sections:
        inner = document.get(section)
        document[section] = document = dict(inner) if isinstance(inner, dict) else {}
    document[key] = text if is_text(Config, path) else next(iter(read_yaml(text)), None)


def read_api_keys(config: Config) -> tuple[ApiKey, ...]:
    """Configured keys and those made at a first start, kept as hashes in the data directory."""
    path = Path(config.cluster.data_dir) / KEYS_FILE
    try:
        made = msgspec.json.decode(path.read_bytes(), type=tuple[ApiKey, ...])
    except (FileNotFoundError, NotADirectoryError):
        made = ()
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidConfig(str(path), [f"cannot be read: {error}"]) from error
    return (*config.auth.keys, *made)


def read_secret(config: Config) -> str:
    """The cluster secret: configured, from its file, or the one a single node made for itself.

    Raises:
        InvalidConfig: there is none yet, or its file cannot be read.
    """
    if config.cluster.secret:
        return config.cluster.secret
    path = Path(config.cluster.secret_file or Path(config.cluster.data_dir) / SECRET_FILE)
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidConfig(str(path), [f"the cluster secret cannot be read: {error}"]) from error
    if not secret:
        raise InvalidConfig(str(path), ["the cluster secret is empty"])
    return secret


def control_url(config: Config) -> str:
    """Where other processes reach this node's control port."""
    return f"http://{config.cluster.control.advertise or config.cluster.control.address}"


def shown(config: Config) -> dict[str, Any]:
    """The effective configuration as a document, durations as text and secrets masked."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(config))
    if document["cluster"]["secret"]:
        document["cluster"]["secret"] = "********"  # noqa: S105 - a mask
    _durations(document, Config)
    return document


def _durations(document: dict[str, Any], kind: Any) -> None:
    for path in variables(kind).values():
        section = document
        for name in path[:-1]:
            section = section[name]
        value = section[path[-1]]
        if isinstance(value, int) and not isinstance(value, bool) and is_text(kind, path):
            section[path[-1]] = format_duration(value)


def default_path(environ: Mapping[str, str]) -> Path | None:
    """The file named by CHRONOS_CONFIG, if it is set."""
    named = environ.get("CHRONOS_CONFIG")
    return Path(os.path.expanduser(named)) if named else None  # noqa: PTH111
