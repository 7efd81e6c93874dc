"""The first schema: jobs and their versions, executions and attempts, nodes, outcomes, counters."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    """CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        enabled INTEGER NOT NULL,
        concurrency TEXT NOT NULL,
        max_attempts INTEGER NOT NULL,
        schedule TEXT,
        timezone TEXT NOT NULL,
        misfire BLOB NOT NULL,
        next_fire_time INTEGER,
        last_fire_time INTEGER,
        spec BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        deleted_at INTEGER
    )""",
    "CREATE INDEX jobs_by_name ON jobs (name, id) WHERE deleted_at IS NULL",
    "CREATE INDEX jobs_due ON jobs (next_fire_time, id) WHERE next_fire_time IS NOT NULL",
    "CREATE INDEX jobs_deleted ON jobs (deleted_at) WHERE deleted_at IS NOT NULL",
    """CREATE TABLE job_tags (
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        job_seq INTEGER NOT NULL,
        PRIMARY KEY (key, value, job_seq)
    ) WITHOUT ROWID""",
    """CREATE TABLE job_versions (
        job_seq INTEGER NOT NULL,
        version INTEGER NOT NULL,
        spec BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        change TEXT NOT NULL,
        principal TEXT NOT NULL,
        PRIMARY KEY (job_seq, version)
    ) WITHOUT ROWID""",
    """CREATE TABLE executions (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        job_seq INTEGER NOT NULL,
        job_version INTEGER NOT NULL,
        status TEXT NOT NULL,
        cause TEXT NOT NULL,
        fire_time INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        due_at INTEGER,
        attempt INTEGER NOT NULL,
        lost_count INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        node_id TEXT,
        incarnation INTEGER,
        attempt_status TEXT,
        started_at INTEGER,
        finished_at INTEGER,
        response BLOB,
        reason TEXT,
        extra BLOB
    )""",
    "CREATE UNIQUE INDEX executions_by_id ON executions (id)",
    "CREATE INDEX executions_by_job ON executions (job_seq, id)",
    "CREATE INDEX executions_due ON executions (due_at, seq) WHERE status = 'pending'",
    "CREATE INDEX executions_active ON executions (job_seq) WHERE status IN ('pending', 'running')",
    """CREATE INDEX executions_unusual ON executions (status, id)
        WHERE status IN ('failed', 'skipped', 'cancelled')""",
    """CREATE TABLE attempts (
        execution_seq INTEGER NOT NULL,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        node_id TEXT NOT NULL,
        incarnation INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        finished_at INTEGER,
        response BLOB,
        PRIMARY KEY (execution_seq, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE nodes (
        node_id TEXT PRIMARY KEY,
        incarnation INTEGER NOT NULL,
        state TEXT NOT NULL,
        control_url TEXT NOT NULL,
        seats INTEGER NOT NULL,
        version TEXT NOT NULL,
        announced_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE outcomes (
        command_id TEXT PRIMARY KEY,
        fingerprint BLOB NOT NULL,
        applied_index INTEGER NOT NULL,
        at INTEGER NOT NULL,
        answer BLOB NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX outcomes_by_age ON outcomes (at)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """INSERT INTO meta (key, value) VALUES
        ('applied_index', 0), ('applied_term', 0), ('next_job_seq', 1), ('next_execution_seq', 1)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
