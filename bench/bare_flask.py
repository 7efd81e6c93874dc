"""`python -m bench.bare_flask --config FILE`: one Flask route that answers a constant, under the product's gunicorn.

What the API can be compared with: the same server, the same processes and threads, the same number of bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
from flask import Flask, Response

from chronos_api.server import Server
from chronos_common.config import load_config

VARIABLE = "BARE_FLASK_BODY"
"""The environment variable that holds the JSON to answer with."""


class BareServer(Server):
    """The API's own server with another app in it."""

    def load(self) -> Flask:
        """See gunicorn: the app of one process."""
        app = Flask("bare")
        body = os.environ[VARIABLE]

        @app.get("/")
        def constant() -> Response:
            return Response(body, mimetype="application/json")

        return app


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(path: Path) -> None:
    """Serve until terminated."""
    BareServer(load_config(path, {})).run()


if __name__ == "__main__":
    main()
