"""The schema of a worker's SQLite replica, as additive Alembic migrations.

They run when a worker starts and after a snapshot is installed. A released migration never changes.
"""
