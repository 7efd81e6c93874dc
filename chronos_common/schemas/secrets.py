"""What of a job is a secret, how it is hidden, and how a hidden value sent back finds the stored one."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from chronos_common.models import ApiKeyAuth, Auth, BasicAuth, BearerAuth, HttpTarget
from chronos_common.schemas.problems import escape

MASK: Final = "********"
_SECRET_HEADER: Final = re.compile(
    r"authorization|cookie|token|secret|password|passwd|api[-_]?key|signature|credential|session|private",
    re.IGNORECASE,
)


class NothingStored(ValueError):
    """A mask stands where nothing is stored that it could mean. `pointer` is below the webhook."""

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer)
        self.pointer = pointer


def is_secret_header(name: str) -> bool:
    """Whether a header's name suggests that its value must not be shown."""
    return _SECRET_HEADER.search(name) is not None


def masked_headers(headers: dict[str, str]) -> dict[str, str]:
    """Headers as they may be shown."""
    return {name: MASK if is_secret_header(name) else value for name, value in headers.items()}


def masked(target: HttpTarget) -> HttpTarget:
    """A target as it may be shown."""
    return msgspec.structs.replace(target, headers=masked_headers(target.headers), auth=_masked_auth(target.auth))


def has_mask(target: HttpTarget) -> bool:
    """Whether a mask stands anywhere in a target: only then does it matter what is stored."""
    auth = target.auth
    return MASK in target.headers.values() or (auth is not None and MASK in msgspec.structs.astuple(auth))


def unmasked(target: HttpTarget, stored: HttpTarget | None) -> HttpTarget:
    """A target as it was meant: each mask replaced by the stored value in its place.

    Raises:
        NothingStored: there is no such value.
    """
    if not has_mask(target):
        return target
    kept = {} if stored is None else {name.lower(): value for name, value in stored.headers.items()}
    headers = {}
    for name, value in target.headers.items():
        if value == MASK and is_secret_header(name):
            if name.lower() not in kept:
                raise NothingStored(f"/headers/{name}")
            headers[name] = kept[name.lower()]
        else:
            headers[name] = value
    auth = _unmasked_auth(target.auth, None if stored is None else stored.auth)
    return msgspec.structs.replace(target, headers=headers, auth=auth)


def _masked_auth(auth: Auth | None) -> Auth | None:
    match auth:
        case BasicAuth():
            return BasicAuth(auth.username, MASK)
        case BearerAuth():
            return BearerAuth(MASK)
        case ApiKeyAuth():
            return ApiKeyAuth(MASK, auth.header)
    return None


def _unmasked_auth(auth: Auth | None, stored: Auth | None) -> Auth | None:
    match auth, stored:
        case BasicAuth(password=p), BasicAuth() if p == MASK:
            return BasicAuth(auth.username, stored.password)
        case BearerAuth(token=t), BearerAuth() if t == MASK:
            return stored
        case ApiKeyAuth(api_key=k), ApiKeyAuth() if k == MASK:
            return ApiKeyAuth(stored.api_key, auth.header)
    if any(value == MASK for value in ([] if auth is None else msgspec.structs.astuple(auth))):
        raise NothingStored("/auth")
    return auth


def differences(before: Any, after: Any, base: str = "") -> list[dict[str, Any]]:
    """What changed between two documents: pointer, from, to; in order of pointers."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(before.keys() | after.keys()):
            found += differences(before.get(key), after.get(key), f"{base}/{escape(key)}")
        return found
    return [] if before == after else [{"pointer": base, "from": before, "to": after}]
