"""`chronos config check`: is this configuration usable, and what does it amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from chronos_common.config import Config, InvalidConfig, load_config, read_secret, shown


def check(path: Path | None, environ: Mapping[str, str]) -> str:
    """The effective configuration as YAML, secrets masked.

    Raises:
        InvalidConfig: with every problem, those of the files it names included.
    """
    config = load_config(path, environ)
    problems = list(_of_files(config))
    if problems:
        raise InvalidConfig(source(path), problems)
    text: str = yaml.safe_dump(shown(config), sort_keys=False, allow_unicode=True, width=1_000)
    return text


def source(path: Path | None) -> str:
    """How to call the configuration in a sentence."""
    return str(path) if path else "the built-in configuration"


def _of_files(config: Config) -> Iterable[str]:
    """Files the configuration names and this user cannot read."""
    if config.cluster.secret_file:
        try:
            read_secret(config)
        except InvalidConfig as error:
            yield from (f"cluster.secret_file {error.source}: {problem}" for problem in error.problems)
    tls = config.cluster.raft.tls
    named = {
        "cluster.raft.tls.ca": tls.ca,
        "cluster.raft.tls.cert": tls.cert,
        "cluster.raft.tls.key": tls.key,
        "dispatcher.http.ca_file": config.dispatcher.http.ca_file,
    }
    for key, file in named.items():
        if not file:
            continue
        try:
            Path(file).read_bytes()
        except OSError as error:
            yield f"{key} {file}: cannot be read: {error.strerror}"
