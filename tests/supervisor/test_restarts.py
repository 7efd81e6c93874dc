"""When a program that ended is started again."""

import pytest

from cli.chronos.restarts import Restarts


def test_pauses_double_up_to_a_bound_and_then_there_is_no_next_life():
    restarts = Restarts(first_s=0.5, longest_s=3.0, limit=5)
    assert [restarts.pause_s(70, 1.0) for _ in range(6)] == [0.5, 1.0, 2.0, 3.0, 3.0, None]


def test_a_steady_life_starts_the_count_anew():
    restarts = Restarts(first_s=0.5, limit=2, steady_s=10.0)
    assert [restarts.pause_s(1, lived_s) for lived_s in (1, 1, 10, 1, 1)] == [0.5, 1.0, 0.5, 1.0, None]


@pytest.mark.parametrize("status", [2, 3, 4])
def test_a_program_that_refuses_is_not_started_again(status):
    assert Restarts().pause_s(status, 100.0) is None
