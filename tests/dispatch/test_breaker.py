import pytest

from chronos_worker.dispatch.breaker import Breakers, Outcome, outcome_of
from chronos_worker.dispatch.settings import BreakerSettings

HOST = "a:80"
SETTINGS = BreakerSettings(failures=3, streak_ms=1_000, cool_down_ms=500, max_hosts=2)


def key(number):
    return (bytes([number]), 1)


def opened(at_ms=0):
    breakers = Breakers(SETTINGS)
    for number in range(3):
        breakers.settle(HOST, key(number), Outcome.FAILED, at_ms)
    return breakers


def test_a_closed_breaker_lets_everything_through():
    breakers = Breakers(SETTINGS)
    assert breakers.refusal_ms(HOST, key(1), 0) is None
    assert breakers.open_count() == 0


def test_failures_in_a_row_open_it_for_the_cool_down():
    breakers = opened()
    assert breakers.refusal_ms(HOST, key(9), 0) == 500
    assert breakers.refusal_ms(HOST, key(9), 400) == 100
    assert breakers.open_count() == 1


def test_other_hosts_are_not_concerned():
    assert opened().refusal_ms("b:80", key(9), 0) is None


def test_an_answer_breaks_the_row():
    breakers = Breakers(SETTINGS)
    for outcome in (Outcome.FAILED, Outcome.FAILED, Outcome.ANSWERED, Outcome.FAILED, Outcome.FAILED):
        breakers.settle(HOST, key(1), outcome, 0)
    assert breakers.open_count() == 0


def test_failures_far_apart_are_no_row():
    breakers = Breakers(SETTINGS)
    for number in range(6):
        breakers.settle(HOST, key(number), Outcome.FAILED, number * 1_001)
    assert breakers.open_count() == 0


def test_after_the_cool_down_exactly_one_is_let_through():
    breakers = opened()
    assert breakers.refusal_ms(HOST, key(7), 500) is None
    assert breakers.refusal_ms(HOST, key(8), 500) == 500


def test_a_probe_that_is_answered_closes_it():
    breakers = opened()
    breakers.refusal_ms(HOST, key(7), 500)
    breakers.settle(HOST, key(7), Outcome.ANSWERED, 510)
    assert breakers.refusal_ms(HOST, key(8), 510) is None
    assert breakers.open_count() == 0


def test_a_probe_that_fails_opens_it_anew():
    breakers = opened()
    breakers.refusal_ms(HOST, key(7), 500)
    breakers.settle(HOST, key(7), Outcome.FAILED, 510)
    assert breakers.refusal_ms(HOST, key(8), 510) == 500


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_half_open_slot_is_free_again_whatever_the_probe_ended_in(outcome):
    breakers = opened()
    breakers.refusal_ms(HOST, key(7), 500)
    breakers.settle(HOST, key(7), outcome, 510)
    assert breakers.refusal_ms(HOST, key(8), 5_000) is None


def test_late_answers_of_the_time_before_do_not_close_an_open_breaker():
    breakers = opened()
    breakers.settle(HOST, key(5), Outcome.ANSWERED, 100)
    assert breakers.refusal_ms(HOST, key(8), 100) == 400


def test_zero_failures_switches_it_off():
    breakers = Breakers(BreakerSettings(failures=0))
    for number in range(100):
        breakers.settle(HOST, key(number), Outcome.FAILED, 0)
    assert breakers.refusal_ms(HOST, key(9), 0) is None


def test_the_number_of_hosts_is_bounded_and_the_oldest_failure_is_forgotten():
    breakers = opened()
    for host in ("b:80", "c:80"):
        breakers.settle(host, key(1), Outcome.FAILED, 1)
    assert breakers.refusal_ms(HOST, key(9), 1) is None


@pytest.mark.parametrize(
    ("error_code", "http_status", "outcome"),
    [
        (None, 200, Outcome.ANSWERED), ("bad_status", 404, Outcome.ANSWERED),
        ("bad_status", 429, Outcome.ANSWERED),
        ("bad_status", 500, Outcome.FAILED), ("timeout", None, Outcome.FAILED),
        ("reset", None, Outcome.FAILED),
        ("closed_early", 200, Outcome.FAILED), ("aborted", None, Outcome.NOTHING),
        ("worker_died", None, Outcome.NOTHING), ("forbidden_address", None, Outcome.NOTHING),
    ],
)  # fmt: skip
def test_what_a_result_says_about_its_host(error_code, http_status, outcome):
    assert outcome_of(error_code, http_status) is outcome
