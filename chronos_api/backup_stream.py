"""A backup on its way from a worker to whoever asked: never more of it in memory than one part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from chronos_api.cluster_client import ClusterClient
from chronos_common.errors import ChronosError, Unavailable
from chronos_common.protocol import (
    BackupPart,
    BackupReady,
    BackupUnderWay,
    PrepareBackup,
    ReadBackup,
    ReleaseBackup,
)

WAIT_MS: Final = 20_000
"""How long one request waits for the copy to be made; asked again, it goes on waiting for the same one."""
_SLACK_S: Final = 10.0


class BackupStream:
    """A backup that can be read once; `close` lets the worker forget it, read or not."""

    def __init__(self, client: ClusterClient, worker: str, ready: BackupReady) -> None:
        self.ready = ready
        self._client = client
        self._worker = worker
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Its bytes, part by part.

        Raises:
            ChronosError: the worker no longer has it.
        """
        offset = 0
        try:
            while offset < self.ready.size:
                reply = self._client.admin_of(self._worker, ReadBackup(self.ready.token, offset))
                if not isinstance(reply, BackupPart) or not reply.data:
                    raise Unavailable(f"worker {self._worker} no longer has the backup")
                offset += len(reply.data)
                yield reply.data
        finally:
            self.close()

    def close(self) -> None:
        """Let the worker forget it. Calling it again does nothing."""
        if not self._closed:
            self._closed = True
            for _ in range(2):  # a kept connection may have been closed just as it was used
                with contextlib.suppress(ChronosError):
                    self._client.admin_of(self._worker, ReleaseBackup(self.ready.token))
                    return


def open_backup(client: ClusterClient) -> BackupStream:
    """Have a worker make a backup: the first in the configuration that answers, whichever process asks.

    Raises:
        Unavailable: no worker answers, none could make one, or the copy takes longer: ask again.
        Conflict: somebody else is reading one.
    """
    unreachable: ChronosError = Unavailable("no worker answers", retry_after_s=1.0)
    for worker in client.workers:
        try:
            reply = client.admin_of(worker, PrepareBackup(WAIT_MS), timeout_s=WAIT_MS / 1_000 + _SLACK_S)
        except Unavailable as error:
            unreachable = error
            continue
        match reply:
            case BackupReady():
                return BackupStream(client, worker, reply)
            case BackupUnderWay():
                raise Unavailable("the copy is still being made; ask again for it", retry_after_s=1.0)
            case _:
                raise TypeError(f"the worker answered with {type(reply).__name__}")
    raise unreachable
