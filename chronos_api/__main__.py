"""`python -m chronos_api [--config FILE]`: the API tier of one machine. Exit status 2: configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from chronos_api.server import Server
from chronos_api.settings import settings_from
from chronos_common.config import InvalidConfig, default_path, load_config


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="The YAML file.")
def main(path: Path | None) -> None:
    """Serve the API until told to stop."""
    try:
        config = load_config(path or default_path(os.environ), os.environ)
        settings_from(config)
    except InvalidConfig as error:
        sys.stderr.write(f"chronos api: {error}\n")
        sys.exit(2)
    Server(config).run()


if __name__ == "__main__":
    main()
