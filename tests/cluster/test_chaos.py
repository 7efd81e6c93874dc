"""Short campaigns; `make chaos` runs long ones. Each kind of fault comes at least once."""

import pytest

from tests.cluster.campaign import Campaign, told
from tests.cluster.lab import lab

_SEED = 20151129


def judged(running, kinds):
    """The faults injected in a campaign that has nothing to complain of."""
    transcript = []
    figures = Campaign(running, _SEED, transcript.append).run(kinds, seconds=5)
    assert not figures["complaints"], "\n".join([*transcript, told(figures)])
    assert figures["matched"] > 0
    assert figures["operations"]["create ok"] > 0
    return set(figures["faults"])


@pytest.mark.timeout(300)
def test_killed_leaders_and_nodes_that_slept_lose_nothing_and_miss_nothing(tmp_path):
    with lab(tmp_path / "lab") as running:
        assert judged(running, ["kill", "pause", "nap"]) == {"kill", "pause", "nap"}


@pytest.mark.timeout(300)
def test_a_leader_that_is_cut_off_loses_nothing_and_misses_nothing(tmp_path):
    with lab(tmp_path / "lab") as running:
        if running.network is None:
            pytest.skip("; ".join(running.lacking))
        assert judged(running, ["cut", "cut-one-way"]) == {"cut", "cut-one-way"}
