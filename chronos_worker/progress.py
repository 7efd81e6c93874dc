"""How far this worker has applied, for readers who must not see less."""

from __future__ import annotations

import threading


class Progress:
    """The applied index, awaited by reading threads."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._changed = threading.Condition()

    def applied(self, index: int) -> None:
        """The node's thread has committed everything up to `index`."""
        if index != self._index:
            with self._changed:
                self._index = index
                self._changed.notify_all()

    def wait_for(self, index: int, timeout_s: float) -> bool:
        """Wait until `index` is applied; whether it was in time."""
        if self._index >= index:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._index >= index, timeout_s)

    @property
    def index(self) -> int:
        """The applied index."""
        return self._index
