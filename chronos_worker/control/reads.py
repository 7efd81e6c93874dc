"""Answering queries from the replica, with the two promises a read can have."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from chronos_common.protocol import Found, Query, QueryReply, TooOld, encode
from chronos_worker.desk import Desk
from chronos_worker.progress import Progress
from chronos_worker.store.database import Database
from chronos_worker.store.reads import answer_read

MAX_WAIT_S: Final = 10.0


class Reads:
    """Queries on read connections. `age_ms` tells how long ago this worker last heard from a leader."""

    def __init__(self, database: Database, desk: Desk, progress: Progress, age_ms: Callable[[], int]) -> None:
        self._database = database
        self._desk = desk
        self._progress = progress
        self._age_ms = age_ms

    def answer(self, query: Query) -> QueryReply:
        """Default: what is applied here, not older than `min_index`. Strong: behind a barrier first."""
        wait_s = min(query.wait_ms / 1_000, MAX_WAIT_S)
        if query.strong and self._desk.barrier(f"barrier-{secrets.token_hex(8)}", wait_s) is None:
            return TooOld(self._progress.index, "no quorum of workers confirmed this read in time")
        if not self._progress.wait_for(query.min_index, wait_s):
            return TooOld(self._progress.index, f"this worker has not reached index {query.min_index} in time")
        index = self._progress.index
        with self._database.read() as connection:
            result = answer_read(connection, query.read)
        return Found(index, self._age_ms(), msgspec.Raw(encode(result)))
