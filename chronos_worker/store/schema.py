"""Bringing a replica to the schema this build reads. Imports Alembic: see `revision`, which avoids that.

`python -m chronos_worker.store.schema FILE` does it to a file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

import migrations
from chronos_worker.store.engines import writer_engine
from chronos_worker.store.revision import NewerData, get_revision, known_revisions, newest


def migrate(engine: Engine) -> None:
    """Run every migration that is missing.

    Raises:
        NewerData: the file is at a revision this build does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        current = get_revision(connection)
        if current is not None and current not in known_revisions():
            raise NewerData(f"its rows are of schema {current}, this version knows up to {newest()}")
        if current == newest():
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


if __name__ == "__main__":
    migrate(writer_engine(Path(sys.argv[1])))
