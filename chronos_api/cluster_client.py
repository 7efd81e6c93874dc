"""How the API tier talks to the workers: writes follow the leader, reads take any worker that answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final

import msgspec

from chronos_api.connections import Connections, Unreachable
from chronos_common.commands import Change
from chronos_common.errors import BY_CODE, ChronosError, Internal, OutcomeUnknown, Unavailable
from chronos_common.protocol import (
    AdminCall,
    AdminReply,
    Busy,
    Found,
    MetricFamily,
    NotLeader,
    Outcome,
    Pending,
    Proposal,
    ProposeReply,
    Query,
    QueryReply,
    Read,
    Rejected,
    WorkerStatus,
    decode,
    encode,
)

WRITE_DEADLINE_S: Final = 8.0
READ_DEADLINE_S: Final = 6.0
_WRITE_WAIT_MS: Final = 5_000
"""How long one worker may take to confirm a change before it is sent again."""
_READ_WAIT_MS: Final = 2_000
"""How long one worker may take to become as recent as asked before another is asked."""
_SLACK_S: Final = 0.5
"""What a worker that waits its full time needs to say so."""
_READ_TIMEOUT_S: Final = _READ_WAIT_MS / 1_000 + _SLACK_S
_READ_ROUNDS: Final = 2
"""How often each worker is asked: a kept connection may have been closed just as it was used."""
_PAUSE_S: Final = 0.1
_STATUS_S: Final = 1.5
_PROBES: Final = 8
"""Workers asked at once for status or metrics."""


class ClusterClient:
    """Speaks the control protocol with a set of workers. Thread-safe.

    A leader's URL is believed from any worker, for only holders of the cluster secret can answer as one,
    but the secret itself is sent to no host that is neither configured nor announced by such a worker.
    """

    def __init__(
        self,
        workers: Iterable[str],
        secret: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._workers = tuple(worker.rstrip("/") for worker in workers)
        self._connections = Connections(secret)
        self._clock = clock
        self._sleep = sleep
        self._probes = ThreadPoolExecutor(_PROBES, thread_name_prefix="probe")
        self._leader: str | None = None
        self._nearest = 0

    def propose(self, change: Change, *, command_id: str, fingerprint: bytes, principal: str) -> Outcome:
        """Have a change made, and return its outcome; the same `command_id` may always be sent again.

        Raises:
            ChronosError: what the state machine refused, by its code.
            Unavailable: nobody took it in time; nothing was changed.
            OutcomeUnknown: it may have been made; repeating it is safe.
        """
        deadline = self._clock() + WRITE_DEADLINE_S
        unknown, asked, reason = False, set[str](), "no worker answers"
        while (left := deadline - self._clock()) > 0:
            wait_ms = max(100, min(_WRITE_WAIT_MS, int(left * 1_000)))
            proposal = Proposal(command_id, fingerprint, principal, change, wait_ms)
            url = self._leader or self._worker()
            match self._propose_to(url, encode(proposal), wait_ms / 1_000 + _SLACK_S):
                case Outcome(answer=Rejected() as rejected):
                    raise refusal(rejected)
                case Outcome() as outcome:
                    return outcome
                case NotLeader(leader_url=leader):
                    self._leader = leader
                    reason = "the cluster has no leader right now"
                    asked.add(url)
                    if leader is not None and leader not in asked:
                        continue
                    asked.clear()  # they point at each other: an election is under way
                case Busy(message=message):
                    reason = message
                case Pending():
                    unknown = True
                case Unreachable() as error:
                    unknown = unknown or error.sent
                    reason = str(error)
            self._sleep(max(0.0, min(_PAUSE_S, deadline - self._clock())))
        if unknown:
            raise OutcomeUnknown(
                "the change was sent and not confirmed in time; repeat it with the same Idempotency-Key",
                retry_after_s=1.0,
            )
        raise Unavailable(f"the change could not be made: {reason}; nothing was changed", retry_after_s=1.0)

    def _propose_to(self, url: str, body: bytes, timeout_s: float) -> ProposeReply | Unreachable:
        try:
            reply: ProposeReply = self._call(url, "POST", "/v1/propose", body, ProposeReply, timeout_s)
        except Unreachable as error:
            self._leader = None
            self._nearest += 1
            return error
        return reply

    def query(self, read: Read, *, min_index: int = 0, strong: bool = False) -> Found:
        """Read from any worker that answers, first from the one that did last.

        Raises:
            Unavailable: none did in time, or none is as recent as asked.
        """
        body = encode(Query(read, min_index, strong, _READ_WAIT_MS))
        deadline = self._clock() + READ_DEADLINE_S
        reason = "no worker answers"
        for attempt in range(_READ_ROUNDS * len(self._workers)):
            if attempt == len(self._workers):
                self._sleep(_PAUSE_S)
            if self._clock() >= deadline:
                break
            try:
                reply: QueryReply = self._call(self._worker(), "POST", "/v1/query", body, QueryReply, _READ_TIMEOUT_S)
            except Unreachable as error:
                reason = str(error)
            else:
                if isinstance(reply, Found):
                    return reply
                reason = reply.message
            self._nearest += 1
        raise Unavailable(f"the read could not be answered: {reason}", retry_after_s=1.0)

    def admin(self, call: AdminCall, *, timeout_s: float = 10.0, to_leader: bool = False) -> AdminReply:
        """Have a worker do something, once; `to_leader` follows to the leader first.

        Raises:
            ChronosError: it was refused.
            Unavailable: nobody took it.
            OutcomeUnknown: a worker took it and did not answer.
        """
        url, reason = self._worker(), "no worker answers"
        for _ in range(len(self._workers) + 1):
            try:
                reply: AdminReply = self._call(url, "POST", "/v1/admin", encode(call), AdminReply, timeout_s)
            except Unreachable as error:
                if error.sent:
                    raise OutcomeUnknown(f"{error}; what was asked may have been done") from error
                reason = str(error)
                self._nearest += 1
                url = self._worker()
                continue
            if isinstance(reply, Rejected):
                raise refusal(reply)
            if isinstance(reply, NotLeader) and to_leader:
                if reply.leader_url is None:
                    raise Unavailable("the cluster has no leader right now", retry_after_s=1.0)
                url = reply.leader_url
                continue
            return reply
        raise Unavailable(reason, retry_after_s=1.0)

    def admin_of(self, worker: str, call: AdminCall, *, timeout_s: float = 10.0) -> AdminReply:
        """Have this very worker do something, once.

        Raises:
            ChronosError: it was refused.
            Unavailable: the worker does not answer.
        """
        try:
            reply: AdminReply = self._call(worker, "POST", "/v1/admin", encode(call), AdminReply, timeout_s)
        except Unreachable as error:
            raise Unavailable(str(error), retry_after_s=1.0) from error
        if isinstance(reply, Rejected):
            raise refusal(reply)
        return reply

    @property
    def workers(self) -> tuple[str, ...]:
        """The URLs of the configured workers."""
        return self._workers

    def statuses(self) -> dict[str, WorkerStatus | None]:
        """The status of every configured worker; None for one that does not answer."""
        return self._of_all("/v1/status", WorkerStatus)

    def metrics(self) -> dict[str, list[MetricFamily] | None]:
        """The metrics of every configured worker; None for one that does not answer."""
        return self._of_all("/v1/metrics", list[MetricFamily])

    def _of_all(self, path: str, kind: Any) -> dict[str, Any]:
        def ask(url: str) -> Any:
            try:
                return self._call(url, "GET", path, b"", kind, _STATUS_S)
            except Unreachable:
                return None

        return dict(zip(self._workers, self._probes.map(ask, self._workers), strict=True))

    def _worker(self) -> str:
        return self._workers[self._nearest % len(self._workers)]

    def _call(self, url: str, method: str, path: str, body: bytes, kind: Any, timeout_s: float) -> Any:
        status, answer = self._connections.ask(url.rstrip("/"), method, path, body, timeout_s)
        if status != HTTPStatus.OK:
            # It authenticates and reads before it acts, so only an error of its own leaves anything open.
            sent = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise Unreachable(f"worker {url} answered {status}", sent=sent)
        try:
            return decode(answer, kind)
        except msgspec.DecodeError as error:
            raise Unreachable(f"worker {url} speaks another protocol version", sent=True) from error


def refusal(rejected: Rejected) -> ChronosError:
    """The error a refusal of the workers stands for."""
    kind = BY_CODE.get(rejected.code, Internal)
    return kind(rejected.message, violations=rejected.violations)
