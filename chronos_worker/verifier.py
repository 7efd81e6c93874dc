"""Comparing replicas: every node digests its rows at the same index and says in the log what it found.

`TakeDigest` in the log names the index. Each node, right after the transaction that applied it, opens a read
transaction, which keeps exactly those rows, and digests them on a thread of its own. It reports what it found
as a command, so every node hears every report, and each can tell whether all agree.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Final, NamedTuple

from chronos_common.commands import Command, ReportDigest, TakeDigest
from chronos_worker.store.database import Database
from chronos_worker.store.digest import Digest, digest_of

MAX_KEPT: Final = 8
"""Comparisons remembered."""
_PATIENCE_S: Final = 2.0
"""A report not seen applied for this long is proposed again."""


class Comparison(NamedTuple):
    """What the nodes found at one index."""

    token: str
    index: int  # type: ignore[assignment]  # the field's own word; nobody calls tuple.index here
    reports: dict[str, str]
    """The digest by node id."""
    schemas: dict[str, str]
    """The schema of the rows by node id."""

    @property
    def agrees(self) -> bool:
        """Whether all reports so far on rows of the same schema are the same."""
        found = {(self.schemas[node_id], sha256) for node_id, sha256 in self.reports.items()}
        return len(found) == len(set(self.schemas.values()))


class Verifier:
    """This node's part. `taken`, `reported` and `plan` belong to the node's thread, the rest to any.

    Args:
        database: the rows.
        node_id: this node.
        wake: called when a digest is done and waits to be reported.
        disagree: called with every comparison that shows a difference, on the node's thread.
        background: where rows are digested.
        interval_s: how long the leader waits between two comparisons; 0: it begins none by itself.
    """

    def __init__(
        self,
        database: Database,
        node_id: str,
        *,
        wake: Callable[[], None],
        disagree: Callable[[Comparison], None],
        background: Executor,
        interval_s: float,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._wake = wake
        self._disagree = disagree
        self._interval_s = interval_s
        self._next_at_s: float | None = None
        self._background = background
        self._ours: dict[str, Future[Digest]] = {}
        self._unseen: dict[str, tuple[ReportDigest, float]] = {}
        self._kept: OrderedDict[str, Comparison] = OrderedDict()
        self._asked: list[str] = []
        self._changed = threading.Condition()

    # -- the node's thread --------------------------------------------------------------------------------

    def taken(self, token: str, index: int) -> None:
        """The rows are at the index to digest, now: hold them and begin."""
        with self._changed:
            self._kept[token] = Comparison(token, index, {}, {})
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        if self._ours:
            return  # still busy with the last one; this node sits this comparison out
        held = ExitStack()
        connection = held.enter_context(self._database.read())
        connection.exec_driver_sql("SELECT 1 FROM meta").all()  # the transaction begins with its first read

        def digest() -> Digest:
            with held:
                return digest_of(connection)

        future = self._background.submit(digest)
        self._ours[token] = future
        future.add_done_callback(lambda _: self._wake())

    def reported(self, report: ReportDigest) -> None:
        """A node's finding was applied."""
        with self._changed:
            comparison = self._kept.get(report.token)
            if comparison is None:
                return
            comparison.schemas[report.node_id] = report.schema
            comparison.reports[report.node_id] = report.sha256
            if report.node_id == self._node_id:
                self._unseen.pop(report.token, None)
            self._changed.notify_all()
        if not comparison.agrees:
            self._disagree(comparison)

    def plan(self, now_s: float, *, leads: bool) -> list[Command]:
        """What to propose now: findings of ours, comparisons asked for, and the leader's regular one."""
        commands: list[Command] = []
        for token, future in list(self._ours.items()):
            if future.done():
                del self._ours[token]
                digest = future.result()
                report = ReportDigest(token, self._node_id, digest.index, digest.sha256, digest.schema)
                self._unseen[token] = (report, -_PATIENCE_S)
        for token, (report, said_at_s) in list(self._unseen.items()):
            if token not in self._kept:
                del self._unseen[token]
            elif now_s - said_at_s >= _PATIENCE_S:
                self._unseen[token] = (report, now_s)
                commands.append(report)
        with self._changed:
            asked, self._asked = self._asked, []
        commands += [TakeDigest(token) for token in asked]
        if leads and self._interval_s > 0 and self._due(now_s):
            commands.append(TakeDigest(f"scheduled {now_s:.3f}"))
        return commands

    def _due(self, now_s: float) -> bool:
        if self._next_at_s is None or now_s < self._next_at_s:
            self._next_at_s = self._next_at_s or now_s + self._interval_s
            return False
        self._next_at_s = now_s + self._interval_s
        return True

    # -- any thread ---------------------------------------------------------------------------------------

    def compare(self, token: str, nodes: frozenset[str], timeout_s: float) -> Comparison | None:
        """Have all nodes digest their rows; wait for `nodes` to report. None if it was not even begun in time."""
        with self._changed:
            self._asked.append(token)
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._is_complete(token, nodes), timeout_s)
            return self._kept.get(token)

    def _is_complete(self, token: str, nodes: frozenset[str]) -> bool:
        comparison = self._kept.get(token)
        return comparison is not None and nodes <= comparison.reports.keys()
