"""The nouns of Chronos as plain frozen structs, and the words their statuses may take.

Everything here is data: no clock, no I/O, no validation beyond types. What a user may write is
checked by `chronos_common.schemas`; what may happen to a row is decided in the worker's state machine.

Instants are integer milliseconds since the Unix epoch, UTC. `*_at` happened; `fire_time` is nominal.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

DEFAULT_NAMESPACE: Final = "default"


class ExecutionStatus(enum.StrEnum):
    """Where an execution stands. The last four are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class AttemptStatus(enum.StrEnum):
    """How one delivery stands or ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"


class Trigger(enum.StrEnum):
    """Why an execution exists."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    REPLAY = "replay"


class ConcurrencyPolicy(enum.StrEnum):
    """What a due occurrence does while an earlier execution of its job is still active."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"


class MisfirePolicy(enum.StrEnum):
    """What happens to occurrences found later than their grace."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"


class SkipReason(enum.StrEnum):
    """Why the ledger holds a `skipped` row instead of a run."""

    OVERLAP = "overlap"
    """`forbid`: an earlier execution was still active."""
    MISFIRE = "misfire"
    """Found later than the grace and the policy said skip."""
    COALESCED = "coalesced"
    """Part of a missed stretch that was answered by one later run."""
    CATCH_UP_LIMIT = "catch_up_limit"
    """`fire_all`: outside the job's catch-up window or beyond its cap."""


class _Frozen(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of every value below: immutable, and defaults cost nothing on the wire."""


class _Replicated(_Frozen, frozen=True, forbid_unknown_fields=True):
    """Base of what commands carry: a field this build does not know must not be passed over."""


class BasicAuth(_Replicated, frozen=True, tag="basic"):
    """HTTP Basic credentials (RFC 7617)."""

    username: str
    password: str


class BearerAuth(_Replicated, frozen=True, tag="bearer"):
    """An OAuth 2.0 style bearer token (RFC 6750)."""

    token: str


class ApiKeyAuth(_Replicated, frozen=True, tag="api_key"):
    """A key sent in one named header."""

    api_key: str
    header: str = "X-API-Key"


Auth = BasicAuth | BearerAuth | ApiKeyAuth


class HttpTarget(_Replicated, frozen=True, tag="http"):
    """A webhook. `body` is text, sent as it is, or any JSON value, sent as JSON; None sends no body."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: Any = None
    auth: Auth | None = None
    success_codes: tuple[tuple[int, int], ...] = ((200, 299),)
    """Inclusive ranges of HTTP status codes that count as success."""


class RetryPolicy(_Replicated, frozen=True):
    """Backoff `initial × multiplier^(n-1)`, capped, with full jitter; `max_attempts` counts the first try."""

    max_attempts: int = 3
    initial_interval_ms: int = 1_000
    max_interval_ms: int = 60_000
    multiplier: float = 2.0


class Misfire(_Replicated, frozen=True):
    """How late is too late, and what to do then.

    Occurrences no older than `grace_ms` are always fired one by one. `window_ms` and `cap` bound
    `fire_all`: how far back it reaches and how many it starts.
    """

    policy: MisfirePolicy = MisfirePolicy.FIRE_ONCE
    grace_ms: int = 60_000
    window_ms: int = 86_400_000
    cap: int = 100


class Retention(_Replicated, frozen=True):
    """How long finished executions of a job are kept: whichever bound is reached first."""

    max_age_ms: int = 30 * 86_400_000
    max_count: int = 1_000


class JobSpec(_Replicated, frozen=True):
    """A job as its owner wrote it, with every default filled in. A new version is a new spec."""

    name: str
    target: HttpTarget
    schedule: str | None = None
    timezone: str = "UTC"
    description: str = ""
    retry_policy: RetryPolicy = RetryPolicy()
    timeout_ms: int = 300_000
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    misfire: Misfire = Misfire()
    retention: Retention = Retention()
    tags: dict[str, str] = {}
    enabled: bool = True
    namespace: str = DEFAULT_NAMESPACE


class Job(_Frozen, frozen=True):
    """A stored job. `version` counts its edits from 1. `next_fire_time` None: none is coming."""

    id: str
    version: int
    spec: JobSpec
    created_at: int
    updated_at: int
    next_fire_time: int | None = None
    last_fire_time: int | None = None


class JobVersion(_Frozen, frozen=True):
    """One saved edition of a job; `change`: created, updated, enabled, disabled or rolled back."""

    job_id: str
    version: int
    spec: JobSpec
    created_at: int
    change: str
    principal: str = ""


class Attempt(_Frozen, frozen=True):
    """One delivery by one life of one node."""

    number: int
    status: AttemptStatus
    node_id: str
    incarnation: int
    started_at: int
    finished_at: int | None = None
    http_status: int | None = None
    error_code: str | None = None
    error: str | None = None
    response_headers: dict[str, str] = {}
    response_body: str | None = None
    response_truncated: bool = False
    timings_ms: dict[str, float] = {}


class Skipped(_Replicated, frozen=True):
    """The stretch of occurrences a skipped row stands for, both ends included.

    `count` is exact unless `at_least`, which marks a stretch too long to count one by one.
    """

    reason: SkipReason
    first_fire_time: int
    last_fire_time: int
    count: int
    at_least: bool = False


class Execution(_Frozen, frozen=True):
    """One firing of a job, or the record of why there was none."""

    id: str
    job_id: str
    job_name: str
    job_version: int
    namespace: str
    status: ExecutionStatus
    trigger: Trigger
    fire_time: int
    created_at: int
    due_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    attempt_count: int = 0
    lost_count: int = 0
    reason: str | None = None
    """A sentence for a person: why it failed, was skipped or was cancelled."""
    skipped: Skipped | None = None
    replay_of: str | None = None
    payload: Any = None
    """Body override given at trigger time; None means the job's own body."""
    has_payload: bool = False
    attempts: tuple[Attempt, ...] = ()


class NodeState(enum.StrEnum):
    """What the cluster believes of a node."""

    LIVE = "live"
    DRAINING = "draining"
    LOST = "lost"
    LEFT = "left"


class NodeInfo(_Frozen, frozen=True):
    """A worker as the replicated rows know it."""

    node_id: str
    incarnation: int
    state: NodeState
    control_url: str
    seats: int
    """How many deliveries it runs at once."""
    version: str = ""
    announced_at: int = 0
    reads: int = 1
    """The highest level of commands it reads."""


def is_final(status: ExecutionStatus) -> bool:
    """Whether an execution in this status will never change again."""
    return status not in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)
