"""PURE: what an answer, or the lack of one, means for the attempt.

Retried: transport errors, timeouts, 429 and every 5xx; 429 and 503 honour Retry-After (RFC 9110
§10.2.3). Not retried: other statuses, the redirect limit, forbidden addresses, targets that cannot be
sent at all. A breaker's refusal and a lost attempt may be repeated.
"""

from __future__ import annotations

import enum
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from chronos_common.models import AttemptStatus

TOO_MANY_REQUESTS: Final = 429
SERVICE_UNAVAILABLE: Final = 503
_MAX_DELAY_DIGITS: Final = 12


class Reason(enum.StrEnum):
    """Why an attempt did not succeed: the stable public words of `error_code`."""

    BAD_STATUS = "bad_status"
    TIMEOUT = "timeout"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    RESET = "reset"
    CLOSED_EARLY = "closed_early"
    PROTOCOL_ERROR = "protocol_error"
    TRANSPORT_ERROR = "transport_error"
    HOST_BUSY = "host_busy"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    FORBIDDEN_REDIRECT = "forbidden_redirect"
    FORBIDDEN_ADDRESS = "forbidden_address"
    INVALID_TARGET = "invalid_target"
    CIRCUIT_OPEN = "circuit_open"
    WORKER_DIED = "worker_died"
    DRAINED = "drained"
    ABORTED = "aborted"


class Verdict(NamedTuple):
    """The state an attempt ends in, and whether and when repeating it makes sense."""

    status: AttemptStatus
    retryable: bool
    retry_after_ms: int | None = None
    reason: Reason | None = None


_FINAL: Final = frozenset(
    {
        Reason.TOO_MANY_REDIRECTS,
        Reason.FORBIDDEN_REDIRECT,
        Reason.FORBIDDEN_ADDRESS,
        Reason.INVALID_TARGET,
        Reason.ABORTED,
    }
)
_STATUS: Final = {
    Reason.TIMEOUT: AttemptStatus.TIMED_OUT,
    Reason.ABORTED: AttemptStatus.CANCELLED,
    Reason.WORKER_DIED: AttemptStatus.LOST,
    Reason.DRAINED: AttemptStatus.LOST,
}
_SUCCESS: Final = Verdict(AttemptStatus.SUCCEEDED, retryable=False)


def judge_failure(reason: Reason, retry_after_ms: int | None = None) -> Verdict:
    """The verdict when no complete answer came."""
    status = _STATUS.get(reason, AttemptStatus.FAILED)
    return Verdict(status, reason not in _FINAL, retry_after_ms, reason)


def is_success(http_status: int, success_codes: tuple[tuple[int, int], ...]) -> bool:
    """Whether the status lies in one of the inclusive ranges."""
    return any(low <= http_status <= high for low, high in success_codes)


def judge_answer(
    http_status: int,
    success_codes: tuple[tuple[int, int], ...],
    retry_after: str | None,
    now_ms: int,
    max_retry_after_ms: int,
) -> Verdict:
    """The verdict on a complete answer; `retry_after` is the header's text, `now_ms` dates it."""
    if is_success(http_status, success_codes):
        return _SUCCESS
    wait_ms = None
    if retry_after is not None and http_status in (TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE):
        wait_ms = retry_after_ms(retry_after, now_ms)
        if wait_ms is not None:
            wait_ms = min(wait_ms, max_retry_after_ms)
    retryable = http_status == TOO_MANY_REQUESTS or 500 <= http_status <= 599  # noqa: PLR2004 - HTTP's 5xx
    return Verdict(AttemptStatus.FAILED, retryable, wait_ms, Reason.BAD_STATUS)


def retry_after_ms(text: str, now_ms: int) -> int | None:
    """The wait a Retry-After header asks for: seconds or an HTTP date; None if it is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:_MAX_DELAY_DIGITS]) * 1_000
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1_000) - now_ms)
