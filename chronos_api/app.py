"""The Flask app, put together from its settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

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
    app.before_request(_bound_body)
    app.before_request(Guard(settings, RateLimiter(settings.requests_per_second, settings.burst, time.monotonic)))
    app.after_request(_finish)
    problems.register(app)
    api = make_api(app, open_access=settings.open_access)
    for module in _BLUEPRINTS:
        api.register_blueprint(module.blueprint)
    problems.register(app)  # ours, not flask-smorest's
    app.register_blueprint(docs.blueprint)
    if settings.metrics_path is not None:
        metrics.register(app, client, settings.metrics_path, os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
    return app


def _bound_body() -> None:
    if request.path == _BATCH_PATH:
        request.max_content_length = MAX_BATCH_BYTES


def _finish(response: Response) -> Response:
    """What every answer says: how recent it is, and that a browser is to do nothing with it but show it."""
    if "index" in g:
        response.headers["X-Chronos-Index"] = str(g.index)
    if "age_ms" in g:
        response.headers["X-Chronos-Age-Ms"] = str(g.age_ms)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers.setdefault("Cache-Control", "no-store")
    return response
