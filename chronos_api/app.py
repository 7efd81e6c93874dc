"""The Flask app, put together from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, g, request

from chronos_api import docs, metrics, problems
from chronos_api.calls import EXTENSION, Services
from chronos_api.cluster_client import ClusterClient
from chronos_api.guard import Guard
from chronos_api.openapi import make_api
from chronos_api.parsing import MAX_BATCH_BYTES, MAX_BODY_BYTES
from chronos_api.rate_limit import RateLimiter
from chronos_api.resources import backups, batches, cluster, executions, health, jobs, schedules, versions, webhooks
from chronos_api.settings import ApiSettings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_BATCH_PATH: Final = "/api/v1/jobs:batch"
_BLUEPRINTS: Final = (jobs, batches, versions, executions, schedules, webhooks, cluster, backups, health)


class _App(Flask):
    """Flask without a question: whether a function of ours is a coroutine, asked nineteen times a request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """See Flask: nothing here is a coroutine."""
        return func


def create_app(settings: ApiSettings, client: ClusterClient | None = None) -> Flask:
    """One API process's app. It keeps no state but connections, rate limits and metrics."""
    app = _App("chronos_api", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, MAX_FORM_MEMORY_SIZE=0, PROPAGATE_EXCEPTIONS=False)
    app.url_map.strict_slashes = False
    client = client or ClusterClient(settings.workers, settings.secret)
    app.extensions[EXTENSION] = Services(client, settings)
    if settings.metrics_path is not None:
        metrics.register(app, client, settings.metrics_path)
    app.before_request(_bound_body)
    app.before_request(Guard(settings, RateLimiter(settings.requests_per_second, settings.burst, time.monotonic)))
    app.after_request(_tell_age)
    problems.register(app)
    api = make_api(app, open_access=settings.open_access)
    for module in _BLUEPRINTS:
        api.register_blueprint(module.blueprint)
    problems.register(app)  # ours, not flask-smorest's
    app.register_blueprint(docs.blueprint)
    app.wsgi_app = _OnlyToBeShown(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documents do it
    return app


def _bound_body() -> None:
    if request.path == _BATCH_PATH:
        request.max_content_length = MAX_BATCH_BYTES


def _tell_age(response: Response) -> Response:
    """How recent an answer is, where it shows something of the cluster."""
    if (index := g.get("index")) is not None:
        response.headers.add("X-Chronos-Index", str(index))
        if (age_ms := g.get("age_ms")) is not None:
            response.headers.add("X-Chronos-Age-Ms", str(age_ms))
    return response


class _OnlyToBeShown:
    """Around the app: every answer tells browsers to do nothing with it but show it, unless it says otherwise."""

    _FIELDS: Final = (
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("Cache-Control", "no-store"),
    )

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""

        def start(status: str, fields: list[tuple[str, str]], *failed: Any) -> Any:
            said = {name for name, _ in fields}
            return start_response(status, fields + [field for field in self._FIELDS if field[0] not in said], *failed)

        return self._app(environ, start)
