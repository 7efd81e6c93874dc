"""What the handlers of one transaction share."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from chronos_common.commands import Claim
from chronos_worker.state_machine.effects import Effect
from chronos_worker.store.restore_progress import RESTORE, decode_restore

NEVER: Final = 1 << 62


class Applying:
    """One transaction of the state machine: the connection, what changed, what must be done after.

    `me` is this node's current life; it only selects which effects concern us and never the rows.
    """

    def __init__(self, connection: Connection, me: Claim | None, running: Counter[str]) -> None:
        self.connection = connection
        # Statements go straight to the driver, inside the transaction that SQLAlchemy began: its part of a
        # small statement costs three times SQLite's (docs/adr/0005).
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the only driver there is
        self._driver = driver
        self.me = me
        self.effects: list[Effect] = []
        self.counts: Counter[str] = Counter()
        self.running = running
        self.index = 0
        self.due_from = NEVER
        """The earliest instant (ms) at which a row written here is due."""
        meta = dict(
            self.rows(
                "SELECT key, value FROM meta WHERE key IN ('next_job_seq', 'next_execution_seq', 'level', ?)", RESTORE
            )
        )
        self.next_job_seq = int(meta["next_job_seq"])
        self.next_execution_seq = int(meta["next_execution_seq"])
        self.level = int(meta["level"])
        """The highest level of commands that may stand in the log."""
        self.restore = decode_restore(meta[RESTORE]) if RESTORE in meta else None
        """The restore under way: nothing is fired and nothing else changed meanwhile."""

    def due(self, instant: int | None) -> None:
        """A row was written that is due at `instant`."""
        if instant is not None and instant < self.due_from:
            self.due_from = instant

    def rows(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """All rows of a read, as plain tuples."""
        return self._driver.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> Any:
        """The first row, or None."""
        return self._driver.execute(sql, parameters).fetchone()

    def change(self, sql: str, *parameters: Any) -> int:
        """Run one change; returns how many rows it touched."""
        return self._driver.execute(sql, parameters).rowcount

    def change_many(self, sql: str, parameters: list[tuple[Any, ...]]) -> None:
        """Run one change for each tuple."""
        if parameters:
            self._driver.executemany(sql, parameters)

    def live_claims(self, claims: tuple[Claim, ...]) -> list[bool]:
        """Which of these lives may be given work: the row says live, with this incarnation."""
        live = dict(self.rows("SELECT node_id, incarnation FROM nodes WHERE state = 'live'"))
        return [live.get(claim.node_id) == claim.incarnation for claim in claims]

    def savepoint(self) -> Savepoint:
        """A point to which everything, rows and bookkeeping, can return."""
        return Savepoint(self)


class Savepoint:
    """All or nothing inside a transaction."""

    def __init__(self, tx: Applying) -> None:
        self._tx = tx
        self._effects = len(tx.effects)
        self._counts = tx.counts.copy()
        self._running = tx.running.copy()
        self._next = (tx.next_job_seq, tx.next_execution_seq)
        tx.change("SAVEPOINT whole")

    def commit(self) -> None:
        """Keep what was done since."""
        self._tx.change("RELEASE whole")

    def rollback(self) -> None:
        """Forget what was done since."""
        tx = self._tx
        tx.change("ROLLBACK TO whole")
        tx.change("RELEASE whole")
        del tx.effects[self._effects :]
        tx.counts = self._counts
        tx.running.clear()
        tx.running.update(self._running)
        tx.next_job_seq, tx.next_execution_seq = self._next


def as_json(values: Iterable[int]) -> str:
    """Numbers as the JSON array that `json_each` takes: one statement text for any count."""
    return json.dumps(list(values))
