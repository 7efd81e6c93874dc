import pytest

from chronos_common.models import AttemptStatus
from chronos_worker.dispatch.verdict import Reason, judge_answer, judge_failure, retry_after_ms

NOW = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
TWO_HUNDREDS = ((200, 299),)


def judge(status, codes=TWO_HUNDREDS, retry_after=None, bound=60_000):
    return judge_answer(status, codes, retry_after, NOW, bound)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_status_among_the_success_codes_succeeds(status):
    assert judge(status).status is AttemptStatus.SUCCEEDED


def test_success_codes_are_the_users_to_choose():
    assert judge(404, ((200, 200), (404, 404))).status is AttemptStatus.SUCCEEDED
    assert judge(201, ((200, 200),)).status is AttemptStatus.FAILED


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (429, True),
        (500, True),
        (503, True),
        (599, True),
        (400, False),
        (404, False),
        (408, False),
        (304, False),
    ],
)
def test_429_and_5xx_are_retried_and_nothing_else(status, retryable):
    verdict = judge(status)
    assert (verdict.status, verdict.retryable) == (AttemptStatus.FAILED, retryable)
    assert verdict.reason is Reason.BAD_STATUS


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("7", 7_000), (" 0 ", 0), ("Tue, 14 Nov 2023 22:13:30 GMT", 10_000),
        ("Tuesday, 14-Nov-23 22:13:30 GMT", 10_000), ("Tue Nov 14 22:13:30 2023", 10_000),
        ("Mon, 13 Nov 2023 22:13:30 GMT", 0), ("soon", None), ("-5", None), ("", None), ("1.5", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_any_http_date(text, wait_ms):
    assert retry_after_ms(text, NOW) == wait_ms


@pytest.mark.parametrize("status", [429, 503])
def test_429_and_503_honour_retry_after(status):
    assert judge(status, retry_after="7").retry_after_ms == 7_000


def test_other_statuses_do_not():
    assert judge(500, retry_after="7").retry_after_ms is None


@pytest.mark.parametrize("text", ["999999999", "9" * 400])
def test_retry_after_is_bounded(text):
    assert judge(429, retry_after=text).retry_after_ms == 60_000


@pytest.mark.parametrize(
    ("reason", "status", "retryable"),
    [
        (Reason.TIMEOUT, AttemptStatus.TIMED_OUT, True),
        (Reason.CONNECT_FAILED, AttemptStatus.FAILED, True),
        (Reason.RESET, AttemptStatus.FAILED, True),
        (Reason.TLS_FAILED, AttemptStatus.FAILED, True),
        (Reason.CIRCUIT_OPEN, AttemptStatus.FAILED, True),
        (Reason.WORKER_DIED, AttemptStatus.LOST, True),
        (Reason.ABORTED, AttemptStatus.CANCELLED, False),
        (Reason.FORBIDDEN_ADDRESS, AttemptStatus.FAILED, False),
        (Reason.TOO_MANY_REDIRECTS, AttemptStatus.FAILED, False),
        (Reason.INVALID_TARGET, AttemptStatus.FAILED, False),
    ],
)
def test_what_a_failure_without_an_answer_means(reason, status, retryable):
    verdict = judge_failure(reason)
    assert (verdict.status, verdict.retryable, verdict.reason) == (status, retryable, reason)
