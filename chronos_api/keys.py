"""API keys: made, hashed, compared.

A key is 256 random bits, so a plain fast hash hides it as well as a slow one would; slow hashes are for
passwords that people choose.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from chronos_common.config.keys import ApiKey

SCOPES: Final = ("read", "write", "admin")
"""Each includes the ones before it."""


def hash_key(key: str) -> str:
    """What is kept of a key."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def find_key(given: str, keys: Iterable[ApiKey]) -> ApiKey | None:
    """The configured key that `given` is. Looks at all of them, in constant time each."""
    hashed = hash_key(given)
    found = None
    for key in keys:
        if hmac.compare_digest(hashed.encode(), key.hash.encode()):
            found = key
    return found


def allows(scope: str, needed: str) -> bool:
    """Whether a key of `scope` may do what needs `needed`."""
    return SCOPES.index(scope) >= SCOPES.index(needed)
