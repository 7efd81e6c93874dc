"""What travels between a node, its dispatch pool and the pool's child processes.

`Delivery` and `DeliveryResult` are the room's vocabulary; `Instructions` and `Results` are the frames
on the pipe. Instants are milliseconds since the epoch, UTC. Execution ids are the 16 raw bytes the
commands carry; they become text only in the outgoing headers, in the child.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chronos_common.models import AttemptStatus, HttpTarget

AttemptKey = tuple[bytes, int]
"""(execution id, attempt number): names a delivery everywhere in this room."""


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to be made: everything is decided already."""

    execution_id: bytes
    attempt: int
    job_id: str
    fire_time: int
    term: int
    """The Raft term the attempt was started under; sent as a fencing token."""
    timeout_ms: int
    """Bounds the whole attempt, redirects included, from the moment its request starts."""
    target: HttpTarget
    payload: Any = None
    has_payload: bool = False
    """Whether `payload` replaces the target's own body."""
    show_request: bool = False
    """Whether the result repeats what was sent, for the webhook test."""

    @property
    def key(self) -> AttemptKey:
        """What names this delivery."""
        return (self.execution_id, self.attempt)


class Assignment(msgspec.Struct, frozen=True, array_like=True):
    """A `Delivery` as the child reads it, field for field.

    The target stays encoded: its bytes are the key under which the prepared request is found.
    """

    execution_id: bytes
    attempt: int
    job_id: str
    fire_time: int
    term: int
    timeout_ms: int
    target: msgspec.Raw
    payload: Any = None
    has_payload: bool = False
    show_request: bool = False

    @property
    def key(self) -> AttemptKey:
        """What names this delivery."""
        return (self.execution_id, self.attempt)


class RequestShown(msgspec.Struct, frozen=True):
    """What was sent, with credentials masked and the body bounded."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None = None


class DeliveryResult(msgspec.Struct, frozen=True, array_like=True):
    """How an attempt ended.

    `retryable` says whether repeating can help; `retry_after_ms` is the least wait the target (or an
    open breaker) asks for. `lost` means that nobody knows whether the target got the request.
    """

    execution_id: bytes
    attempt: int
    status: AttemptStatus
    retryable: bool
    started_at: int
    finished_at: int
    retry_after_ms: int | None = None
    http_status: int | None = None
    error_code: str | None = None
    """A stable word of `verdict.Reason`, or None for a success."""
    error: str | None = None
    """A sentence for a person."""
    timings_ms: dict[str, float] = {}
    """`dns`, `connect`, `tls`: length of each phase of the last hop, left out when it took no time
    (reused connection); `first_byte` and `total`: since the attempt started."""
    response_headers: dict[str, str] = {}
    response_body: str | None = None
    response_truncated: bool = False
    remote_address: str | None = None
    """`address:port` actually connected to."""
    request: RequestShown | None = None

    @property
    def key(self) -> AttemptKey:
        """What names the delivery this answers."""
        return (self.execution_id, self.attempt)


class Instructions(msgspec.Struct, frozen=True, array_like=True):
    """Parent to child: deliveries to start and attempts to abort."""

    start: list[Assignment] = []
    abort: list[AttemptKey] = []


class Orders(msgspec.Struct, frozen=True, array_like=True):
    """`Instructions` as the parent writes them, field for field."""

    start: list[Delivery] = []
    abort: list[AttemptKey] = []


class Results(msgspec.Struct, frozen=True, array_like=True):
    """Child to parent: what has ended."""

    items: list[DeliveryResult]
