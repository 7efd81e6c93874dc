"""The first admin key of a node that other machines can reach: made once, shown once, kept as a hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from chronos_common.api_keys import hash_key, new_key
from chronos_common.config import KEYS_FILE, Config, InvalidConfig, read_api_keys
from chronos_common.config.keys import ApiKey

VARIABLE: Final = "CHRONOS_ADMIN_KEY"
SHORTEST: Final = 16
_NAME: Final = "admin"


def ensure_admin_key(config: Config, environ: Mapping[str, str], show: Callable[[str], None]) -> None:
    """With `auth.bootstrap`, see that there is an admin key: the one in CHRONOS_ADMIN_KEY, or a new one.

    A key given in the environment replaces the one stored before. A made one is handed to `show`, once.

    Raises:
        InvalidConfig: the given key is too short, or the data directory cannot be written.
    """
    if not config.auth.bootstrap or config.auth.mode == "none":
        return
    given = environ.get(VARIABLE, "")
    known = read_api_keys(config)
    if given:
        if len(given) < SHORTEST or not (given.isascii() and given.isprintable()):
            raise InvalidConfig(
                VARIABLE, [f"accepted are {SHORTEST} or more printable ASCII characters, given are {len(given)}"]
            )
        if any(key.hash == hash_key(given) for key in known):
            return
    elif known:
        return
    key = given or new_key()
    _store(config, ApiKey(_NAME, hash_key(key), "admin"))
    if not given:
        show(key)


def _store(config: Config, key: ApiKey) -> None:
    path = Path(config.cluster.data_dir) / KEYS_FILE
    configured = set(config.auth.keys)
    kept = [known for known in read_api_keys(config) if known not in configured and known.name != key.name]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(path, msgspec.json.encode([*kept, key]))
    except OSError as error:
        raise InvalidConfig(str(path), [f"the first API key cannot be kept: {error.strerror}"]) from error


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
