"""Deterministic application of commands to rows: (rows, command) -> rows, effects."""
