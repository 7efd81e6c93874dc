"""The silence around a kill is what is reported, not that of another moment."""

from bench.scenarios.failover import first_launch_max_s, silences_s
from bench.sink import Arrival


def test_the_pause_that_follows_a_kill_is_its_gap():
    steady = [time for time in range(0, 60_000, 5) if not 10_000 < time < 11_800]
    assert silences_s(steady, [10_002]) == [1.8]


def test_each_kill_has_a_gap_of_its_own():
    arrivals = [time for time in range(0, 60_000, 5) if not (10_000 < time < 11_000 or 30_000 < time < 33_000)]
    assert silences_s(arrivals, [10_001, 30_001]) == [1.0, 3.0]


def test_a_kill_soon_after_another_keeps_its_own_gap():
    arrivals = [time for time in range(0, 60_000, 5) if not (10_000 < time < 11_000 or 14_000 < time < 14_500)]
    assert silences_s(arrivals, [10_001, 14_001]) == [1.0, 0.5]


def test_a_pause_before_a_kill_does_not_count():
    arrivals = [time for time in range(0, 60_000, 5) if not 5_000 < time < 9_000]
    assert silences_s(arrivals, [10_001]) == [0.005]


def test_an_execution_is_as_late_as_its_first_arrival():
    arrivals = [Arrival(9_000, 1_000, 2, b"a"), Arrival(1_500, 1_000, 1, b"a"), Arrival(4_000, 2_000, 2, b"b")]
    assert first_launch_max_s(arrivals) == 2.0
