"""The replicated log: an ordered list of entries that survives the loss of a minority of the members.

Start with `DESIGN.md` beside this file. Nothing outside this package imports pysyncobj.
"""

from chronos_worker.raft.config import ClusterSecret, Limits, LogConfig, MutualTls, Timing
from chronos_worker.raft.errors import (
    BadLogConfig,
    ChangePending,
    ChangeRefused,
    DataDirectoryBusy,
    DiskFailed,
    EntryTooLarge,
    FatalLogError,
    JournalCorrupt,
    LogClosed,
    LogDiverged,
    NoLeader,
    QueueFull,
    WrongDataDirectory,
)
from chronos_worker.raft.interface import (
    MAX_ENTRY_BYTES,
    Committed,
    LogStatus,
    ReplicatedLog,
    SnapshotFile,
    StateMachineSnapshots,
)
from chronos_worker.raft.log import open_log

__all__ = [
    "MAX_ENTRY_BYTES",
    "BadLogConfig",
    "ChangePending",
    "ChangeRefused",
    "ClusterSecret",
    "Committed",
    "DataDirectoryBusy",
    "DiskFailed",
    "EntryTooLarge",
    "FatalLogError",
    "JournalCorrupt",
    "Limits",
    "LogClosed",
    "LogConfig",
    "LogDiverged",
    "LogStatus",
    "MutualTls",
    "NoLeader",
    "QueueFull",
    "ReplicatedLog",
    "SnapshotFile",
    "StateMachineSnapshots",
    "Timing",
    "WrongDataDirectory",
    "open_log",
]
