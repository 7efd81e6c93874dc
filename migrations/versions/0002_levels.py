"""The highest level of commands each node reads, and the level the cluster has reached."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE nodes ADD COLUMN reads INTEGER NOT NULL DEFAULT 1",
    "INSERT INTO meta (key, value) VALUES ('level', 1)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
