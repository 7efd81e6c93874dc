"""A socket pair that ends a selector's wait from another thread."""

from __future__ import annotations

import contextlib
import socket


class Wakeup:
    """`set` from anywhere, `clear` by the waiting thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Readable while set."""
        return self._reader.fileno()

    def set(self) -> None:
        """End the wait. A full pipe means that it is set already."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forget all calls of `set` so far."""
        with contextlib.suppress(BlockingIOError):
            while len(self._reader.recv(4096)) == 4096:  # noqa: PLR2004 - a full read: there may be more
                pass

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
