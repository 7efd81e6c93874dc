"""Pure decisions of the leader: rows and an instant in, commands out. No clock, no I/O."""
