"""gunicorn, run from our configuration instead of its own.

prometheus_client decides at its import, by PROMETHEUS_MULTIPROC_DIR, whether its figures are shared among
processes. So this module imports nothing that imports it before that directory is named.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from chronos_api.settings import settings_from
from chronos_common.config import Config
from chronos_common.garbage import collect_seldom
from chronos_common.logs import configure_logging


def _forget_process(_server: object, worker: Any) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415 - see the module's docstring

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no annotations
    """Several processes with a few threads each, all stateless."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._metrics_dir = tempfile.mkdtemp(prefix="chronos-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._metrics_dir
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn: its settings, taken from ours."""
        http = self._config.server.http
        options: dict[str, Any] = {
            "bind": http.address,
            "workers": http.processes,
            "threads": http.threads,
            "worker_class": "gthread",
            "timeout": max(30, http.write_timeout // 1_000),
            "graceful_timeout": 10,
            "keepalive": min(75, http.read_timeout // 1_000),
            "limit_request_line": 8_190,
            "limit_request_fields": 100,
            "limit_request_field_size": 16_380,
            "preload_app": False,
            "control_socket_disable": True,
            "accesslog": None,
            "loglevel": "warning",
            "child_exit": _forget_process,
            "on_exit": lambda _server: shutil.rmtree(self._metrics_dir, ignore_errors=True),
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """See gunicorn: the app of one process."""
        from chronos_api.app import create_app  # noqa: PLC0415 - see the module's docstring

        configure_logging(self._config.logging.level, self._config.logging.format)
        app = create_app(settings_from(self._config))
        collect_seldom()
        return app
