"""flask-smorest's blueprint, kept to what it does once: describing endpoints.

Its decorators put a function around an endpoint for each thing they describe, eight and more of them for one of
ours, and each asks at every request whether the next is a coroutine. Here a description is taken from such a
function and the function is left out. Endpoints answer with responses of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import flask_smorest
from flask import request
from marshmallow import Schema

from chronos_api.parsing import StrictParser

F = TypeVar("F", bound=Callable[..., Any])
_DESCRIPTION: Final = "_apidoc"


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest ships no annotations
    """Endpoints of one noun, with the same decorators as flask-smorest's."""

    _parser = StrictParser()

    def arguments(
        self, schema: type[Schema], *, location: str = "json", **described: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Hand the endpoint what the request holds at `location`, as `schema` loads it; raises InvalidRequest."""
        describe = super().arguments(schema, location=location, **described)
        loader = schema()
        of_nothing: dict[str, Any] | None = loader.load({}) if location == "query" else None

        def mark(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(endpoint)
            def read(view: Any, **path: Any) -> Any:
                if of_nothing is not None and not request.query_string:
                    return endpoint(view, dict(of_nothing), **path)
                return endpoint(view, self._parser.parse(loader, request, location=location), **path)

            return _described(read, describe(endpoint))

        return mark

    def response(self, *of: Any, **described: Any) -> Callable[[F], F]:
        """Describe what the endpoint answers with."""
        describe = super().response(*of, **described)
        return lambda endpoint: _described(endpoint, describe(endpoint))

    def alt_response(self, *of: Any, **described: Any) -> Callable[[F], F]:
        """Describe what else it may answer with."""
        describe = super().alt_response(*of, **described)
        return lambda endpoint: _described(endpoint, describe(endpoint))


def _described(endpoint: F, like: Callable[..., Any]) -> F:
    setattr(endpoint, _DESCRIPTION, getattr(like, _DESCRIPTION))
    return endpoint
