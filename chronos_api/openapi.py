"""What is the same in the description of every endpoint: who may call it, and the headers of its answers."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from apispec import BasePlugin
from flask import Flask
from flask_smorest import Api

from chronos_api.documenting import MIN_INDEX, PROBLEM_CONTENT
from chronos_api.guard import SCOPE_EXTENSION
from chronos_common import VERSION

DOCUMENT_PATH: Final = "/api/openapi.json"
_CHANGING: Final = ("post", "put", "patch", "delete")
_INDEX: Final = {
    "description": "What the answer is based on; send it back as X-Chronos-Min-Index to read no older state.",
    "schema": {"type": "integer"},
}
_AGE: Final = {
    "description": "How long ago the worker that answered last heard from a leader; 0 if it leads.",
    "schema": {"type": "integer"},
}
_RETRY_AFTER: Final = {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}}


class DocumentedApi(Api):  # type: ignore[misc]  # flask-smorest ships no annotations
    """flask-smorest's, without its catch-all error response: every status an endpoint answers with is listed."""

    DEFAULT_ERROR_RESPONSE_NAME: ClassVar[str | None] = None


def make_api(app: Flask, *, open_access: bool) -> DocumentedApi:
    """The app's OpenAPI document, to which blueprints are added."""
    app.config.update(
        API_TITLE="Chronos",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = DocumentedApi(app, spec_kwargs={"extra_plugins": [_Completing(open_access=open_access)]})
    components = api.spec.components
    components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    components.security_scheme("api_key", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    return api


class _Completing(BasePlugin):
    """Adds to each operation what follows from its verb, its scope and its statuses."""

    def __init__(self, *, open_access: bool) -> None:
        self._open_access = open_access

    def operation_helper(self, path: str | None = None, operations: dict[str, Any] | None = None, **_: Any) -> None:
        """Called by apispec for every path."""
        del path
        for verb, operation in (operations or {}).items():
            operation["security"] = self._security(operation.get(SCOPE_EXTENSION))
            self._headers(verb, operation)

    def _security(self, scope: str | None) -> list[dict[str, list[str]]]:
        """Either kind of key, with the scope it needs; none at all where nobody is asked for one."""
        if scope is None:
            return []
        keys = [{"bearer": [scope]}, {"api_key": [scope]}]
        return [{}, *keys] if self._open_access else keys

    def _headers(self, verb: str, operation: dict[str, Any]) -> None:
        responses = operation["responses"]
        if verb in _CHANGING:
            responses.setdefault(413, {"description": "Content Too Large", "content": PROBLEM_CONTENT})
        if any(parameter["name"] == "consistency" for parameter in operation.get("parameters", ())):
            operation["parameters"].append(MIN_INDEX)
            responses[200].setdefault("headers", {}).update({"X-Chronos-Index": _INDEX, "X-Chronos-Age-Ms": _AGE})
        for status in {429, 503} & responses.keys():
            responses[status]["headers"] = {"Retry-After": _RETRY_AFTER}
