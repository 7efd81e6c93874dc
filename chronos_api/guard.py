"""Before any endpoint: who asks, may they, and not too often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import current_app, g, request

from chronos_api.keys import allows, find_key
from chronos_api.rate_limit import RateLimiter
from chronos_api.settings import ApiSettings
from chronos_common.errors import Forbidden, RateLimited, Unauthenticated

F = TypeVar("F", bound=Callable[..., Any])
_SCOPE: Final = "_chronos_scope"
SCOPE_EXTENSION: Final = "x-chronos-scope"
"""Where the OpenAPI document tells the scope of an operation."""
ANONYMOUS: Final = "anonymous"


def needs(scope: str) -> Callable[[F], F]:
    """Mark an endpoint as needing a key of at least this scope. Unmarked endpoints are public."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _SCOPE, scope)
        documented = getattr(endpoint, "_apidoc", None)
        if documented is not None:
            documented.setdefault("manual_doc", {})[SCOPE_EXTENSION] = scope
        return endpoint

    return mark


class Guard:
    """Runs before every request; leaves the principal in `flask.g`."""

    def __init__(self, settings: ApiSettings, limiter: RateLimiter) -> None:
        self._settings = settings
        self._limiter = limiter

    def __call__(self) -> None:
        """Let the request pass, or raise why not."""
        g.principal = ANONYMOUS
        scope = self._scope()
        if scope is None:
            return
        given = _given_key()
        key = find_key(given, self._settings.keys) if given else None
        client = f"key:{key.name}" if key else f"address:{request.remote_addr}"
        if wait_s := self._limiter.wait_s(client):
            raise RateLimited("this client sends too many requests", retry_after_s=round(wait_s, 3))
        if self._settings.open_access:
            return
        if key is None:
            reason = "the API key is not known" if given else "an API key is needed"
            raise Unauthenticated(f"{reason}; send Authorization: Bearer KEY or X-API-Key: KEY")
        if not allows(key.scope, scope):
            raise Forbidden(f"the key {key.name!r} has scope {key.scope}, this needs {scope}")
        g.principal = key.name

    def _scope(self) -> str | None:
        view = current_app.view_functions.get(request.endpoint or "")
        view_class = getattr(view, "view_class", None)
        # A view class answers HEAD with its `get`, so HEAD needs what GET needs.
        verb = "get" if request.method == "HEAD" else request.method.lower()
        method = getattr(view_class, verb, None) if view_class else view
        scope: str | None = getattr(method, _SCOPE, None)
        return scope


def _given_key() -> str | None:
    authorization = request.headers.get("Authorization", "")
    kind, _, key = authorization.partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("X-API-Key")
