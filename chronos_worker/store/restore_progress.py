"""How far a restore is, as the rows tell it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from chronos_common.backups import CHAIN_START

RESTORE: Final = "restore"
"""Key in `meta` of the restore under way."""
RESTORED: Final = "restored"
"""Key in `meta` of the backup this cluster was filled from."""


class Restore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A restore under way. `index` and `taken_at` (ms) are the backup's, `begun_at` is ours."""

    backup: str
    index: int
    taken_at: int
    begun_at: int
    pieces: int = 0
    chain: bytes = CHAIN_START
    rows: dict[str, int] = {}
    counters: dict[str, int] = {}
    """Added to the cluster's own at the end."""
    waiting: tuple[bytes, ...] = ()
    """Pieces of a batch that goes on in the next one."""
    clearing: bool = False


_decoder = msgspec.msgpack.Decoder(Restore)


def decode_restore(raw: Any) -> Restore:
    """A restore from its stored bytes."""
    return _decoder.decode(raw)


def get_restore(connection: Connection) -> Restore | None:
    """The restore under way."""
    raw = connection.exec_driver_sql("SELECT value FROM meta WHERE key = ?", (RESTORE,)).scalar()
    return None if raw is None else decode_restore(raw)
