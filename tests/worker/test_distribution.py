"""What a histogram shows of the values it was given."""

from prometheus_client import CollectorRegistry, Histogram

from chronos_worker.distribution import Distribution

BOUNDS = (0.001, 0.5, 1, 60)


def test_it_shows_what_the_library_would_show():
    ours, theirs = (
        Distribution(BOUNDS),
        Histogram("h", "h", buckets=BOUNDS, registry=(registry := CollectorRegistry())),
    )
    for value in (0.0, 0.001, 0.0011, 0.5, 0.7, 1.0, 59.9, 60.0, 61.0, 1e9):
        ours.note(value)
        theirs.observe(value)
    for bound, count in ours.buckets():
        assert count == registry.get_sample_value("h_bucket", {"le": bound})
    assert len(ours.buckets()) == len(BOUNDS) + 1
    assert ours.sum == registry.get_sample_value("h_sum")


def test_before_the_first_value_everything_is_zero():
    assert Distribution((1.0,)).buckets() == [("1.0", 0.0), ("+Inf", 0.0)]
