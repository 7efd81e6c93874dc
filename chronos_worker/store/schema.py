"""Bringing a replica to the schema this build reads."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

import migrations


class NewerData(Exception):
    """The data was written by a newer version of Chronos; this one must not touch it."""


def migrate(engine: Engine) -> None:
    """Run every migration that is missing.

    Raises:
        NewerData: the file is at a revision this build does not know.
    """
    config = _config()
    script = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        current = get_revision(connection)
        if current is not None and current not in known_revisions():
            raise NewerData(f"its rows are of schema {current}, this version knows up to {script.get_current_head()}")
        if current == script.get_current_head():
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def known_revisions() -> frozenset[str]:
    """Every schema this build can read, or bring to its own: migrations only add."""
    return frozenset(item.revision for item in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def get_revision(connection: Connection) -> str | None:
    """The schema of the rows; None for an empty file."""
    return MigrationContext.configure(connection).get_current_revision()
