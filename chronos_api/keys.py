"""API keys: compared by their hashes, and what their scopes allow."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from chronos_common.api_keys import hash_key
from chronos_common.config.keys import ApiKey

SCOPES: Final = ("read", "write", "admin")
"""Each includes the ones before it."""


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
