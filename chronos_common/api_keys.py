"""API keys: how one is made, and what is kept of it.

A key is 256 random bits, so a plain fast hash hides it as well as a slow one would; slow hashes are for
passwords that people choose.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_PREFIX: Final = "chronos_"
"""So that people and secret scanners recognise a key where they find one."""
_RANDOM_BYTES: Final = 32


def new_key() -> str:
    """A key nobody had before."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_key(key: str) -> str:
    """What is kept of a key."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
