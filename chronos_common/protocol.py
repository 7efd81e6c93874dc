"""What the API tier and the workers say to each other on the private control port.

Everything is msgpack over HTTP, authenticated by the cluster secret before a byte is decoded:

    POST /v1/propose   Proposal  -> ProposeReply
    POST /v1/query     Query     -> QueryReply
    POST /v1/admin     AdminCall -> AdminReply     (test a webhook, transfer leadership, log level ...)
    GET  /v1/status              -> WorkerStatus
    GET  /v1/metrics             -> list[MetricFamily]
    GET  /v1/clock               -> int                (the wall clock, ms since the epoch; asked by the leader)

Expected failures are values of the reply unions, not HTTP statuses; HTTP statuses speak of the
transport only (401 wrong secret, 400 undecodable, 413 too large).
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

import msgspec

from chronos_common.commands import Change
from chronos_common.errors import Violation
from chronos_common.models import (
    Execution,
    ExecutionStatus,
    HttpTarget,
    Job,
    JobVersion,
    NodeInfo,
    Trigger,
)

CONTENT_TYPE: Final = "application/msgpack"
SECRET_HEADER: Final = "X-Chronos-Cluster-Secret"  # noqa: S105 - the header's name, not a secret
MAX_BODY_BYTES: Final = 4 * 1024 * 1024


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything on the control port."""


# --- writes ---


class Proposal(_Message, frozen=True):
    """A change to make. The leader fills in ids, times and next fire times."""

    command_id: str
    fingerprint: bytes
    principal: str
    change: Change
    wait_ms: int = 5_000


class JobChanged(_Message, frozen=True, tag="job"):
    """The job as the change left it."""

    job: Job
    created: bool = False


class JobDeleted(_Message, frozen=True, tag="deleted"):
    """The job is gone."""

    job_id: str


class ExecutionAccepted(_Message, frozen=True, tag="execution"):
    """The execution as the change left it."""

    execution: Execution


class Rejected(_Message, frozen=True, tag="rejected"):
    """The state machine refused: `code` is one of `errors.BY_CODE`."""

    code: str
    message: str
    violations: tuple[Violation, ...] = ()


class BatchItem(_Message, frozen=True):
    """What became of one item: the job's id and version, or why not."""

    job_id: str | None = None
    version: int | None = None
    rejected: Rejected | None = None


class BatchDone(_Message, frozen=True, tag="batch"):
    """One answer per item, in order. `applied` False: atomic, and something was refused."""

    items: tuple[BatchItem, ...]
    applied: bool


class RestoreState(_Message, frozen=True, tag="restore"):
    """How far the restore of a backup is: `pieces` were taken, `rows` are in the tables.

    `open` takes more, `clearing` forgets what it took, `done` works with it, `none` is no restore.
    """

    state: Literal["open", "clearing", "done", "none"]
    backup: str = ""
    pieces: int = 0
    rows: int = 0


Answer = JobChanged | JobDeleted | ExecutionAccepted | BatchDone | RestoreState | Rejected


class Outcome(_Message, frozen=True, tag="outcome"):
    """A command was applied at `index`; `repeated`: it had been before, and this is its first answer."""

    index: int
    answer: Answer
    repeated: bool = False


class NotLeader(_Message, frozen=True, tag="not_leader"):
    """Ask the leader; `leader_url` None while there is none known. Nothing was changed."""

    leader_url: str | None = None


class Busy(_Message, frozen=True, tag="busy"):
    """A queue is at its bound; nothing was changed."""

    retry_after_ms: int
    message: str


class Pending(_Message, frozen=True, tag="pending"):
    """Proposed but not applied within `wait_ms`: the outcome is unknown, the same id may be repeated."""

    message: str


ProposeReply = Outcome | NotLeader | Busy | Pending

# --- reads ---


class JobFilter(_Message, frozen=True):
    """Which jobs a list shows; every condition given must hold."""

    namespace: str | None = None
    enabled: bool | None = None
    name_prefix: str | None = None
    tags: dict[str, str] = {}


class GetJob(_Message, frozen=True, tag="get_job"):
    """A job by id -> Job, or None."""

    job_id: str


class FindJobs(_Message, frozen=True, tag="find_jobs"):
    """Jobs by exact name in one namespace -> list[Job] (missing ones are left out). At most 1,000 names."""

    names: tuple[str, ...]
    namespace: str = "default"


class ListJobs(_Message, frozen=True, tag="list_jobs"):
    """A page of jobs -> JobPage. `after` is the last item's (sort value, id) of the page before."""

    filter: JobFilter = JobFilter()
    sort: Literal["name", "created_at", "next_fire_time"] = "name"
    descending: bool = False
    after: tuple[str | int | None, str] | None = None
    limit: int = 50
    with_total: bool = False


class ListVersions(_Message, frozen=True, tag="list_versions"):
    """Saved editions of a job, newest first -> VersionPage, or None if there is no such job."""

    job_id: str
    before_version: int | None = None
    limit: int = 50


class GetVersion(_Message, frozen=True, tag="get_version"):
    """One edition -> JobVersion, or None."""

    job_id: str
    version: int


class GetExecution(_Message, frozen=True, tag="get_execution"):
    """An execution with all its attempts -> Execution, or None."""

    execution_id: str


class ListExecutions(_Message, frozen=True, tag="list_executions"):
    """A page of executions -> ExecutionPage, ordered by fire time (`descending`: newest first).

    `after` is the last id of the page before. `since` (included) and `until` (excluded) bound the
    fire time. With a job id of no job the answer is None.
    """

    job_id: str | None = None
    namespace: str | None = None
    statuses: tuple[ExecutionStatus, ...] = ()
    trigger: Trigger | None = None
    since: int | None = None
    until: int | None = None
    descending: bool = True
    after: str | None = None
    limit: int = 50
    with_total: bool = False


class GetCounts(_Message, frozen=True, tag="get_counts"):
    """Jobs and ledger totals -> Counts."""


Read = GetJob | FindJobs | ListJobs | ListVersions | GetVersion | GetExecution | ListExecutions | GetCounts


class Query(_Message, frozen=True):
    """A read. `min_index`: not older than this applied index. `strong`: confirmed with the quorum first."""

    read: Read
    min_index: int = 0
    strong: bool = False
    wait_ms: int = 2_000


class JobPage(_Message, frozen=True):
    """Some jobs; `more` tells whether the list goes on. `total` counts all that match, if asked."""

    items: tuple[Job, ...]
    more: bool
    total: int | None = None


class VersionPage(_Message, frozen=True):
    """Some editions of a job."""

    items: tuple[JobVersion, ...]
    more: bool


class ExecutionPage(_Message, frozen=True):
    """Some executions."""

    items: tuple[Execution, ...]
    more: bool
    total: int | None = None


class Counts(_Message, frozen=True):
    """Totals for dashboards; executions by final status count since the cluster began, pruned or not."""

    jobs: int
    jobs_enabled: int
    executions: dict[str, int]
    skipped: dict[str, int]
    retries: int
    pending: int
    running: int


class Found(_Message, frozen=True, tag="found"):
    """An answer as of `index`; `age_ms` is how long ago this worker last heard from a leader (0 = it leads).

    `result` is the msgpack of what the read's docstring names; see `decode_result`.
    """

    index: int
    age_ms: int
    result: msgspec.Raw


class TooOld(_Message, frozen=True, tag="too_old"):
    """This worker has not reached `min_index`, or could not confirm with the quorum, in time."""

    index: int
    message: str


QueryReply = Found | TooOld

# --- the rest ---


class TestWebhook(_Message, frozen=True, tag="test_webhook"):
    """Send once, outside any job -> WebhookTested."""

    target: HttpTarget
    timeout_ms: int = 30_000


class WebhookTested(_Message, frozen=True, tag="webhook_tested"):
    """What was sent and what came back; bodies bounded."""

    request: dict[str, Any]
    response: dict[str, Any] | None
    error_code: str | None
    error: str | None
    timings_ms: dict[str, float]


class TransferLeadership(_Message, frozen=True, tag="transfer_leadership"):
    """Hand leadership to `to`, or to the most advanced other node -> Done | Rejected."""

    to: str | None = None


class AddMember(_Message, frozen=True, tag="add_member"):
    """Let a node in, or tell a member's new Raft address -> Done | Rejected | NotLeader. Asked of the leader."""

    node_id: str
    address: str


class RemoveMember(_Message, frozen=True, tag="remove_member"):
    """Take a node off the list of members -> Done | Rejected | NotLeader. Asked of the leader."""

    node_id: str


class SetLogLevel(_Message, frozen=True, tag="set_log_level"):
    """Change the worker's log level at run time -> Done | Rejected."""

    level: str


class TakeSnapshot(_Message, frozen=True, tag="take_snapshot"):
    """Make the state durable and cut the log behind it -> Done | Rejected."""


class CompareReplicas(_Message, frozen=True, tag="compare_replicas"):
    """Have every live node digest its rows at one index -> ReplicasCompared | Rejected."""

    wait_ms: int = 30_000


class PrepareBackup(_Message, frozen=True, tag="prepare_backup"):
    """Copy all rows, and wait so long for the copy -> BackupReady | BackupUnderWay | Rejected."""

    wait_ms: int = 20_000


class ReadBackup(_Message, frozen=True, tag="read_backup"):
    """The next bytes of a prepared backup -> BackupPart | Rejected."""

    token: str
    offset: int


class ReleaseBackup(_Message, frozen=True, tag="release_backup"):
    """A prepared backup was read, or is not wanted any more -> Done."""

    token: str


AdminCall = (
    TestWebhook | TransferLeadership | AddMember | RemoveMember | SetLogLevel | TakeSnapshot | CompareReplicas
    | PrepareBackup | ReadBackup | ReleaseBackup
)  # fmt: skip


class BackupReady(_Message, frozen=True, tag="backup_ready"):
    """A backup of `size` bytes in all waits to be read by whoever has the token, for a minute after each read."""

    token: str
    size: int
    index: int
    taken_at: int


class BackupUnderWay(_Message, frozen=True, tag="backup_under_way"):
    """The copy is still being made: ask again."""


class BackupPart(_Message, frozen=True, tag="backup_part"):
    """Bytes of a backup."""

    data: bytes


class ReplicasCompared(_Message, frozen=True, tag="replicas_compared"):
    """The SHA-256 of all rows at `index` by node; `missing` are live nodes that did not report in time.

    `schemas` by node: only rows of equal schema are compared.
    """

    index: int
    agrees: bool
    digests: dict[str, str]
    schemas: dict[str, str]
    missing: tuple[str, ...]


class Done(_Message, frozen=True, tag="done"):
    """It was done; `message` says what."""

    message: str = ""


AdminReply = (
    WebhookTested | Done | Rejected | NotLeader | ReplicasCompared | BackupReady | BackupUnderWay | BackupPart
)  # fmt: skip


class PeerStatus(_Message, frozen=True):
    """A member as the asked worker sees it. `contact_ms`: since it was last heard; None: never, or itself."""

    node_id: str
    address: str
    contact_ms: int | None = None
    match_index: int | None = None
    votes: bool = True
    """A member that does not is catching up."""


class ClockReading(_Message, frozen=True):
    """How far a node's wall clock is ahead of the asked worker's, give or take `error_ms`."""

    node_id: str
    offset_ms: int
    error_ms: int


class WorkerStatus(_Message, frozen=True):
    """One worker's view of itself and the cluster."""

    node_id: str
    incarnation: int
    version: str
    cluster_id: str | None
    role: Literal["leader", "follower", "candidate"]
    ready: bool
    """Caught up and announced: takes part in the work."""
    leader_id: str | None
    leader_url: str | None
    has_quorum: bool
    term: int
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    age_ms: int
    started_at: int
    peers: tuple[PeerStatus, ...]
    nodes: tuple[NodeInfo, ...]
    seats: int
    in_flight: int
    queue_depth: int
    breakers_open: int
    journal_bytes: int
    database_bytes: int
    snapshot_age_ms: int
    """Since the state was last made durable and the log cut behind it, or since the start."""
    problems: tuple[str, ...] = ()
    """Sentences for an operator: unreachable peers, refused connections, clock steps."""
    level: int = 1
    """The highest level of commands that may be proposed: every member reads it."""
    clocks: tuple[ClockReading, ...] = ()
    """The clocks of the other nodes, on the leader only."""


class Sample(_Message, frozen=True, array_like=True):
    """One line of a metric family: name suffix (`_bucket`, `_sum` ...), labels, value."""

    suffix: str
    labels: dict[str, str]
    value: float


class MetricFamily(_Message, frozen=True):
    """A metric as a worker keeps it. `scope` cluster: the same on every worker; node: its own."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    scope: Literal["cluster", "node"]
    samples: tuple[Sample, ...]


T = TypeVar("T")


def encode(message: object) -> bytes:
    """Any of the messages above as bytes."""
    return msgspec.msgpack.encode(message)


RESULT_TYPES: Final[dict[type, Any]] = {
    GetJob: Job | None,
    FindJobs: list[Job],
    ListJobs: JobPage,
    ListVersions: VersionPage | None,
    GetVersion: JobVersion | None,
    GetExecution: Execution | None,
    ListExecutions: ExecutionPage | None,
    GetCounts: Counts,
}
"""What each read answers with."""


_DECODERS: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (
        int,
        Answer,
        Proposal,
        ProposeReply,
        Query,
        QueryReply,
        AdminCall,
        AdminReply,
        WorkerStatus,
        list[MetricFamily],
        *RESULT_TYPES.values(),
    )
}
"""All kinds that are decoded. They are made here, while there is one thread: msgspec 0.22 describes a struct when it
is first used and shows other threads the half-made description, which ends the process with SIGSEGV."""


def decode(data: bytes, kind: type[T] | Any) -> T:
    """A message of `kind` from bytes; raises `msgspec.DecodeError` on anything else.

    Raises:
        KeyError: `kind` is not among those that are decoded.
    """
    message: T = _DECODERS[kind].decode(data)
    return message


def decode_result(read: Read, found: Found) -> Any:
    """The typed result of a read."""
    return decode(bytes(found.result), RESULT_TYPES[type(read)])
