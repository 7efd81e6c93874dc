"""When to try again: backoff as a function of the attempt and a chance drawn by the caller."""

from __future__ import annotations

from chronos_common.models import RetryPolicy


def retry_delay_ms(policy: RetryPolicy, number: int, chance: float, at_least_ms: int | None) -> int:
    """How long to wait after attempt `number` (from 1) before the next, in milliseconds.

    initial x multiplier^(number - 1), capped, with full jitter: `chance`, drawn from [0, 1), picks a
    point between nothing and the whole (Brooker, "Exponential Backoff And Jitter", AWS 2015).
    `at_least_ms` is what the target or its circuit breaker asked for; it always holds.
    """
    exponent = min(number - 1, 64)
    whole = min(policy.initial_interval_ms * policy.multiplier**exponent, policy.max_interval_ms)
    return max(int(whole * chance), at_least_ms or 0)
