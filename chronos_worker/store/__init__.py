"""The SQLite replica of one worker: one write connection, many read connections, one file."""
