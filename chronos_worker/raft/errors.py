"""What can go wrong in the replicated log: one branch of the tree in `chronos_common.errors`.

ChronosError
├── Unavailable
│   ├── NoLeader         nobody known to take the entry; propose again later
│   ├── QueueFull        a bound on waiting entries was reached; propose again later
│   └── ChangePending    another change of the members is not committed yet; ask again
├── Conflict
│   └── ChangeRefused    the members cannot be changed in this way now
├── TooLarge
│   └── EntryTooLarge    the entry exceeds MAX_ENTRY_BYTES; it will never fit
├── BadLogConfig         the configuration contradicts itself or is unsafe
└── FatalLogError        the process must stop: going on could break a promise already given
├── DiskFailed       a write or a sync failed; what is durable is unknown
├── JournalCorrupt   bytes that were once synced are damaged or missing
├── LogDiverged      this replica disagrees with what the cluster committed
├── WrongDataDirectory   the files belong to another node, cluster or format
├── DataDirectoryBusy    another process holds the directory
└── LogClosed        the log was closed or has failed before; it answers nothing any more
"""

from __future__ import annotations

from chronos_common.errors import ChronosError, Conflict, TooLarge, Unavailable


class NoLeader(Unavailable):
    """No leader is known or reachable; nothing was appended."""


class QueueFull(Unavailable):
    """Too many entries wait for replication; nothing was appended."""


class ChangeRefused(Conflict):
    """The list of members cannot be changed in this way now; nothing was appended."""


class ChangePending(Unavailable):
    """The members cannot be changed before something else is committed; nothing was appended."""


class EntryTooLarge(TooLarge):
    """The entry is larger than MAX_ENTRY_BYTES."""


class BadLogConfig(ChronosError):
    """The configuration of the log is contradictory or unsafe."""

    code = "bad_log_config"
    exit_status = 2


class FatalLogError(ChronosError):
    """The process must stop. Nothing on this node may be acknowledged any more."""

    code = "fatal_log_error"
    exit_status = 70


class DiskFailed(FatalLogError):
    """A write or a sync failed. Never retried: the kernel may have dropped the dirty pages."""

    code = "disk_failed"


class JournalCorrupt(FatalLogError):
    """Bytes that were once synced are damaged or missing."""

    code = "journal_corrupt"


class LogDiverged(FatalLogError):
    """This replica contradicts what the cluster has committed."""

    code = "log_diverged"


class WrongDataDirectory(FatalLogError):
    """The data directory belongs to another node, another cluster or a newer format."""

    code = "wrong_data_directory"


class DataDirectoryBusy(FatalLogError):
    """Another process works in this data directory."""

    code = "data_directory_busy"


class LogClosed(FatalLogError):
    """The log was closed, or failed before, and refuses every further call."""

    code = "log_closed"
