"""PURE: one delivery from its first request to its result, redirects in between.

`Exchange` is a small state machine without a socket or a clock: it says what to send, is told how that
hop ended, and answers with the next request or with the result.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chronos_worker.dispatch import redirects, verdict
from chronos_worker.dispatch.messages import Assignment, AttemptKey, DeliveryResult, RequestShown
from chronos_worker.dispatch.request import PreparedTarget, Request, request_for, shown
from chronos_worker.dispatch.settings import DispatchSettings
from chronos_worker.dispatch.verdict import Reason

_KEPT_HEADERS: Final = frozenset(
    {"content-type", "content-length", "retry-after", "location", "date", "server", "x-request-id",
     "x-correlation-id", "traceparent", "www-authenticate"}
)  # fmt: skip
_HEADER_CHARS: Final = 512


class Hop(NamedTuple):
    """How one request ended, as the transport saw it. Phases are in milliseconds."""

    reason: Reason | None
    """None: a complete answer, or as much of one as is read."""
    error: str | None
    http_status: int
    """0: none came."""
    headers: dict[str, str]
    """Those worth keeping; see `kept_headers`."""
    body: bytes
    truncated: bool
    timings_ms: dict[str, float]
    remote_address: str | None
    redirect_url: str | None
    """What Location means as an absolute URL, on a 3xx."""


class Exchange:
    """One delivery under way. `now_s` is monotonic, `*_at` and `now_ms` are wall clock."""

    __slots__ = ("_hops", "_prepared", "_request", "_settings", "_started_s",
                 "_submitted_s", "delivery", "host", "key", "started_at")  # fmt: skip

    def __init__(
        self, delivery: Assignment, prepared: PreparedTarget, settings: DispatchSettings, now_s: float
    ) -> None:
        self.delivery = delivery
        self.key: AttemptKey = delivery.key
        self.host = f"{prepared.origin.host}:{prepared.origin.port}"
        self.started_at = 0
        self._prepared = prepared
        self._settings = settings
        self._submitted_s = self._started_s = now_s
        self._request: Request | None = None
        self._hops = 0

    def waited_too_long(self, now_s: float) -> bool:
        """Whether the wait for a connection has used up as much time as the attempt itself may."""
        return (now_s - self._submitted_s) * 1_000 > self.delivery.timeout_ms

    def begin(self, now_s: float, now_ms: int) -> Request:
        """The first request; the attempt's time runs from here."""
        self._started_s, self.started_at = now_s, now_ms
        self._request = request_for(self._prepared, self.delivery)
        return self._request

    def remaining_ms(self, now_s: float) -> int:
        """What is left of the attempt's time, at least 1."""
        return max(1, self.delivery.timeout_ms - int((now_s - self._started_s) * 1_000))

    def after(self, hop: Hop, now_s: float, now_ms: int) -> Request | DeliveryResult:
        """What follows a hop: the next request, or the end."""
        if hop.reason is not None:
            error = hop.error
            if hop.reason is Reason.TIMEOUT:
                error = f"no complete answer within {self.delivery.timeout_ms / 1_000:g} s: {error}"
            return self._result(verdict.judge_failure(hop.reason), error, hop, now_s)
        codes = self._prepared.success_codes
        wants_more = hop.redirect_url and hop.http_status in redirects.STATUSES
        if wants_more and not verdict.is_success(hop.http_status, codes):
            return self._redirected(hop, now_s)
        headers = hop.headers
        judged = verdict.judge_answer(
            hop.http_status, codes, headers.get("retry-after"), now_ms, self._settings.max_retry_after_ms
        )
        error = None if judged.reason is None else f"answered {hop.http_status}, expected {_spell(codes)}"
        return self._result(judged, error, hop, now_s)

    def failed(self, reason: Reason, error: str, now_s: float, now_ms: int) -> DeliveryResult:
        """The end without an answer: aborted, or never sent."""
        if self._request is None:
            self._started_s, self.started_at = now_s, now_ms
        return self._result(verdict.judge_failure(reason), error, None, now_s)

    def _redirected(self, hop: Hop, now_s: float) -> Request | DeliveryResult:
        assert self._request is not None  # noqa: S101 - a hop can only end after `begin`
        self._hops += 1
        if self._hops > self._settings.max_redirects:
            error = f"redirected more than {self._settings.max_redirects} times, last to {hop.redirect_url}"
            return self._result(verdict.judge_failure(Reason.TOO_MANY_REDIRECTS), error, hop, now_s)
        try:
            self._request = redirects.next_hop(self._request, hop.http_status, hop.redirect_url or "")
        except redirects.ForbiddenRedirect as refusal:
            judged = verdict.judge_failure(Reason.FORBIDDEN_REDIRECT)
            return self._result(judged, str(refusal), hop, now_s)
        return self._request

    def _result(self, judged: verdict.Verdict, error: str | None, hop: Hop | None, now_s: float) -> DeliveryResult:
        total_ms = (now_s - self._started_s) * 1_000
        timings = {"total": round(total_ms, 3)}
        if hop is not None and hop.timings_ms:
            timings |= self._phases(hop, total_ms)
        answered = hop is not None and hop.http_status > 0
        return DeliveryResult(
            execution_id=self.delivery.execution_id,
            attempt=self.delivery.attempt,
            status=judged.status,
            retryable=judged.retryable,
            started_at=self.started_at,
            finished_at=self.started_at + round(total_ms),
            retry_after_ms=judged.retry_after_ms,
            http_status=hop.http_status if hop and answered else None,
            error_code=judged.reason,
            error=error,
            timings_ms=timings,
            response_headers=hop.headers if hop and answered else {},
            response_body=hop.body.decode(errors="replace") if hop and answered else None,
            response_truncated=hop.truncated if hop else False,
            remote_address=hop.remote_address if hop else None,
            request=self._shown(),
        )

    def _phases(self, hop: Hop, total_ms: float) -> dict[str, float]:
        """The last hop's phases; the first byte counts from the start of the attempt."""
        phases = dict(hop.timings_ms)
        hop_total = phases.pop("total", 0.0)
        if "first_byte" in phases:
            before = max(0.0, total_ms - hop_total) if self._hops else 0.0
            phases["first_byte"] = round(before + phases["first_byte"], 3)
        return phases

    def _shown(self) -> RequestShown | None:
        if not self.delivery.show_request or self._request is None:
            return None
        return shown(self._request)


def kept_headers(head: bytes) -> dict[str, str]:
    """The headers that matter, names in lower case, of the response that begins with `head`."""
    kept = {}
    for line in head.decode(errors="replace").split("\r\n"):
        name, _, value = line.partition(":")
        name = name.lower()
        if name in _KEPT_HEADERS:
            kept[name] = value.strip()[:_HEADER_CHARS]
    return kept


def _spell(codes: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in codes) or "nothing"
