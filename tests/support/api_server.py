"""A worker with its API in front, both in this process, over real HTTP."""

import contextlib
import threading

from werkzeug.serving import WSGIRequestHandler, make_server

from chronos_api.app import create_app
from chronos_api.settings import settings_from
from tests.support.processes import worker_in_thread


class _Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


@contextlib.contextmanager
def served(app):
    """The base URL of an app."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def node_in_thread(config_path):
    """(worker, base URL of its API)."""
    with worker_in_thread(config_path) as (worker, config), served(create_app(settings_from(config))) as url:
        yield worker, url
