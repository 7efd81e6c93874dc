"""Parts of a stored spec, read without the rest of it."""

import pytest

from chronos_common.models import BearerAuth, HttpTarget, JobSpec, Retention, RetryPolicy
from chronos_worker.store.rows import decode_retention, decode_sending, decode_spec, pack

SPECS = (
    JobSpec("plain", HttpTarget("http://example/")),
    JobSpec(
        "rich",
        HttpTarget("http://example/", "POST", {"a": "b"}, {"c": [1]}, BearerAuth("secret")),
        schedule="@hourly",
        retry_policy=RetryPolicy(max_attempts=1),
        timeout_ms=5,
        retention=Retention(max_count=7),
        tags={"d": "e"},
    ),
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_part_says_what_the_whole_says(spec):
    raw = pack(spec)
    sending = decode_sending(raw)
    assert decode_spec(raw) == spec
    assert (sending.target, sending.retry_policy, sending.timeout_ms) == (
        spec.target, spec.retry_policy, spec.timeout_ms,
    )  # fmt: skip
    assert decode_retention(raw) == spec.retention
