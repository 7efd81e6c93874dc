"""The error tree of Chronos, and the one table that maps it to HTTP and exit statuses.

    ChronosError
    ├── InvalidRequest        the caller wrote something we cannot accept; carries violations
    ├── Unauthenticated       no or wrong credentials
    ├── Forbidden             the key may not do this
    ├── NotFound              no such job, execution, version
    ├── Conflict              a name is taken, or the thing is in the wrong state
    ├── NeedsUpgrade          not every member runs a version that knows this
    ├── PreconditionFailed    If-Match names an older version
    ├── TooLarge              a body or field is over its bound
    ├── RateLimited           too many requests from this client
    ├── Unavailable           no leader or no worker in time; nothing was changed
    ├── Restoring             the cluster is being filled from a backup; nothing was changed
    ├── OutcomeUnknown        sent, not confirmed; repeating with the same key is safe
    └── Internal              our fault; the details are in the log, never in the answer

Every class has a stable public `code`. A message names the field, the value, and what would be accepted.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with a request.

    `pointer` is a JSON pointer (RFC 6901) into the body, or `#query/NAME`, `#header/NAME`, `#path/NAME`.
    """

    pointer: str
    message: str
    accepted: str | None = None


class ChronosError(Exception):
    """Base of all expected errors. `retry_after_s` asks the caller to wait that long."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1

    def __init__(
        self, message: str, *, violations: tuple[Violation, ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.retry_after_s = retry_after_s


class InvalidRequest(ChronosError):
    """The request cannot be accepted as written."""

    code = "invalid_request"
    http_status = 422
    exit_status = 2


class Unauthenticated(ChronosError):
    """No credentials, or wrong ones."""

    code = "unauthenticated"
    http_status = 401
    exit_status = 3


class Forbidden(ChronosError):
    """The credentials do not allow this."""

    code = "forbidden"
    http_status = 403
    exit_status = 3


class NotFound(ChronosError):
    """There is no such thing."""

    code = "not_found"
    http_status = 404
    exit_status = 4


class Conflict(ChronosError):
    """The request contradicts what is stored."""

    code = "conflict"
    http_status = 409
    exit_status = 5


class NeedsUpgrade(ChronosError):
    """A feature waits until every member of the cluster runs a version that reads its commands."""

    code = "needs_upgrade"
    http_status = 409
    exit_status = 5


class PreconditionFailed(ChronosError):
    """If-Match names a version that is no longer the current one."""

    code = "precondition_failed"
    http_status = 412
    exit_status = 5


class TooLarge(ChronosError):
    """A body or field is over its bound."""

    code = "too_large"
    http_status = 413
    exit_status = 2


class RateLimited(ChronosError):
    """This client sends too much."""

    code = "rate_limited"
    http_status = 429
    exit_status = 6


class Unavailable(ChronosError):
    """Nobody could take the request in time; nothing was changed."""

    code = "unavailable"
    http_status = 503
    exit_status = 6


class Restoring(ChronosError):
    """The cluster takes no changes until it is restored."""

    code = "restoring"
    http_status = 503
    exit_status = 6


class OutcomeUnknown(ChronosError):
    """The write was sent and not confirmed in time. Repeating it with the same key is safe."""

    code = "outcome_unknown"
    http_status = 503
    exit_status = 6


class Internal(ChronosError):
    """A defect of ours."""

    code = "internal"
    http_status = 500
    exit_status = 1


BY_CODE: dict[str, type[ChronosError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest, Unauthenticated, Forbidden, NotFound, Conflict, NeedsUpgrade, PreconditionFailed,
        TooLarge, RateLimited, Unavailable, Restoring, OutcomeUnknown, Internal,
    )
}  # fmt: skip
"""From a public code back to its class: how a rejection crosses the wire between tiers."""
