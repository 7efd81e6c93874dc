"""What the log needs of the database: where it stands, a copy of it, and replacing it by one."""

from __future__ import annotations

from pathlib import Path

from chronos_worker.raft import SnapshotFile
from chronos_worker.store.database import Database, sha256_of


class Snapshots:
    """The state machine's side of Raft snapshots (`raft.StateMachineSnapshots`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._installed = False

    def applied(self) -> tuple[int, int]:
        """(index, term) of the last applied entry."""
        return self._database.applied()

    def save(self, directory: Path) -> SnapshotFile:
        """A consistent copy in `directory`. May run on any thread beside running writes."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "copy.sqlite3"
        index, term = self._database.copy_to(path)
        return SnapshotFile(path, index, term, path.stat().st_size, sha256_of(path))

    def install(self, file: Path, index: int, term: int) -> None:
        """Become the copy in `file`; the caller has verified its checksum.

        Raises:
            ValueError: the copy is not at (index, term).
            NewerData: this build must not touch it.
        """
        check = Database(file, self._database.reads)
        try:
            found = check.applied()
            check.make_durable()
        finally:
            check.close()
        if found != (index, term):
            raise ValueError(f"the snapshot is at (index, term) {found}, announced was {(index, term)}")
        self._database.replace_with(file)
        self._installed = True

    def take_installed(self) -> bool:
        """Whether a copy was installed since the last call."""
        installed, self._installed = self._installed, False
        return installed
