"""Sending one request outside any job, so that an operator sees what a target would get and answer."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from chronos_common import ids
from chronos_common.clock import Clock
from chronos_common.protocol import TestWebhook, WebhookTested
from chronos_worker.dispatch import Delivery, DeliveryResult, DispatchSettings, Log, send_once

MAX_TIMEOUT_MS: Final = 60_000
MAX_AT_ONCE: Final = 2


class WebhookTester:
    """Sends test requests, a few at a time, through the same code as real ones."""

    def __init__(self, settings: DispatchSettings, log: Log, clock: Clock, term: Callable[[], int]) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._term = term
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)

    def send(self, call: TestWebhook) -> WebhookTested:
        """Send once and tell everything that happened."""
        if not self._places.acquire(blocking=False):
            return WebhookTested({}, None, "busy", f"{MAX_AT_ONCE} tests are running; try again", {})
        try:
            now = self._clock.now_ms()
            delivery = Delivery(
                execution_id=ids.minted_id(now, secrets.randbits),
                attempt=1,
                job_id="test",
                fire_time=now,
                term=self._term(),
                timeout_ms=min(call.timeout_ms, MAX_TIMEOUT_MS),
                target=call.target,
            )
            return _told(send_once(delivery, self._settings, self._log))
        finally:
            self._places.release()


def _told(result: DeliveryResult) -> WebhookTested:
    response: dict[str, Any] | None = None
    if result.http_status is not None:
        response = {
            "status": result.http_status,
            "headers": result.response_headers,
            "body": result.response_body,
            "truncated": result.response_truncated,
            "remote_address": result.remote_address,
        }
    request = {} if result.request is None else msgspec.to_builtins(result.request)
    return WebhookTested(request, response, result.error_code, result.error, result.timings_ms)
