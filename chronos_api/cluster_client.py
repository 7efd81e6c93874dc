"""How the API tier talks to the workers: writes follow the leader, reads take any worker that answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec
import requests

from chronos_common.commands import Change
from chronos_common.errors import BY_CODE, ChronosError, Internal, OutcomeUnknown, Unavailable
from chronos_common.protocol import (
    CONTENT_TYPE,
    SECRET_HEADER,
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
    TooOld,
    WorkerStatus,
    decode,
    encode,
)

T = TypeVar("T")
WRITE_DEADLINE_S: Final = 8.0
READ_DEADLINE_S: Final = 4.0
_ATTEMPT_MS: Final = 5_000
_CONNECT_S: Final = 1.0
_PAUSE_S: Final = 0.1
_STATUS_S: Final = 1.5


class _Unreachable(Exception):
    """A worker did not answer. `sent`: it may have got the request all the same."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class ClusterClient:
    """Speaks the control protocol with a set of workers. Thread-safe.

    A leader's URL is believed from any worker, for only holders of the cluster secret can answer as one,
    but the secret itself is sent to no host that is neither configured nor announced by such a worker.
    """

    def __init__(self, workers: Iterable[str], secret: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = tuple(worker.rstrip("/") for worker in workers)
        self._secret = secret
        self._clock = clock
        self._local = threading.local()
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
        unknown = False
        reason = "no worker answers"
        while (left := deadline - self._clock()) > 0:
            wait_ms = max(100, min(_ATTEMPT_MS, int(left * 1_000)))
            proposal = Proposal(command_id, fingerprint, principal, change, wait_ms)
            reply, reason = self._propose_once(encode(proposal), wait_ms / 1_000, reason)
            match reply:
                case Outcome(answer=Rejected() as rejected):
                    raise refusal(rejected)
                case Outcome():
                    return reply
                case NotLeader(leader_url=url):
                    self._leader = url
                    reason = "the cluster has no leader right now"
                    if url is not None:
                        continue
                case Busy(message=message):
                    reason = message
                case Pending() | _Unreachable(sent=True):
                    unknown = True
            time.sleep(min(_PAUSE_S, max(0.0, deadline - self._clock())))
        if unknown:
            raise OutcomeUnknown(
                "the change was sent and not confirmed in time; repeat it with the same Idempotency-Key",
                retry_after_s=1.0,
            )
        raise Unavailable(f"the change could not be made: {reason}; nothing was changed", retry_after_s=1.0)

    def _propose_once(self, body: bytes, wait_s: float, reason: str) -> tuple[ProposeReply | _Unreachable, str]:
        url = self._leader or self._workers[self._nearest % len(self._workers)]
        try:
            return self._call(url, "POST", "/v1/propose", body, ProposeReply, wait_s + 1), reason
        except _Unreachable as error:
            self._leader = None
            self._nearest += 1
            return error, f"worker {url} does not answer"

    def query(self, read: Read, *, min_index: int = 0, strong: bool = False) -> Found:
        """Read from any worker that answers.

        Raises:
            Unavailable: none did in time, or none is as recent as asked.
        """
        body = encode(Query(read, min_index, strong, int(READ_DEADLINE_S * 500)))
        reason = "no worker answers"
        for attempt in range(len(self._workers)):
            url = self._workers[(self._nearest + attempt) % len(self._workers)]
            try:
                reply: QueryReply = self._call(url, "POST", "/v1/query", body, QueryReply, READ_DEADLINE_S)
            except _Unreachable as error:
                reason = str(error)
                continue
            if isinstance(reply, Found):
                self._nearest += attempt
                return reply
            reason = _sentence(reply)
        raise Unavailable(f"the read could not be answered: {reason}", retry_after_s=1.0)

    def admin(self, call: AdminCall, *, timeout_s: float = 10.0, to_leader: bool = False) -> AdminReply:
        """Have a worker do something; `to_leader` follows to the leader first.

        Raises:
            ChronosError: it was refused, or nobody answered.
        """
        url = self._workers[self._nearest % len(self._workers)]
        for _ in range(len(self._workers) + 1):
            try:
                reply: AdminReply = self._call(url, "POST", "/v1/admin", encode(call), AdminReply, timeout_s)
            except _Unreachable:
                self._nearest += 1
                url = self._workers[self._nearest % len(self._workers)]
                continue
            if isinstance(reply, Rejected):
                raise refusal(reply)
            if isinstance(reply, NotLeader) and to_leader:
                if reply.leader_url is None:
                    raise Unavailable("the cluster has no leader right now", retry_after_s=1.0)
                url = reply.leader_url
                continue
            return reply
        raise Unavailable("no worker answers", retry_after_s=1.0)

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
            except _Unreachable:
                return None

        with ThreadPoolExecutor(len(self._workers)) as threads:
            return dict(zip(self._workers, threads.map(ask, self._workers), strict=True))

    def _call(self, url: str, method: str, path: str, body: bytes, kind: Any, timeout_s: float) -> Any:
        try:
            response = self._session().request(
                method, url.rstrip("/") + path, data=body, timeout=(_CONNECT_S, timeout_s), allow_redirects=False
            )
        except requests.ConnectTimeout as error:
            raise _Unreachable(f"worker {url} does not answer", sent=False) from error
        except requests.RequestException as error:
            refused = "NewConnectionError" in repr(error) or "Connection refused" in repr(error)
            raise _Unreachable(f"worker {url} does not answer", sent=not refused) from error
        if response.status_code != requests.codes.ok:
            raise _Unreachable(f"worker {url} answered {response.status_code}", sent=False)
        try:
            return decode(response.content, kind)
        except msgspec.DecodeError as error:
            raise _Unreachable(f"worker {url} speaks another protocol version", sent=True) from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.headers.update({SECRET_HEADER: self._secret, "Content-Type": CONTENT_TYPE})
            self._local.session = session
        return session


def refusal(rejected: Rejected) -> ChronosError:
    """The error a refusal of the workers stands for."""
    kind = BY_CODE.get(rejected.code, Internal)
    return kind(rejected.message, violations=rejected.violations)


def _sentence(reply: TooOld) -> str:
    return reply.message
