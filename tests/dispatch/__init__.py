"""Dispatch: pure parts, real sockets, real processes."""
