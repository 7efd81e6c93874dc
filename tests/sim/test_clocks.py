"""Whole nodes whose wall clocks differ and are moved, while leadership goes round."""

import pytest

from tests.sim.campaign import Campaign


@pytest.mark.parametrize("seed", range(2))
def test_leaders_with_skewed_and_stepping_clocks_answer_each_occurrence_once(seed, tmp_path):
    campaign = Campaign(tmp_path / "world", seed)
    campaign.rates = {"step_clock": 0.6, "hand_over": 0.6, "kill": 0.1, "restart": 1.0}
    campaign.run()
    moved = sum("has its clock off" in line for line in campaign.world.trace)
    assert moved >= 5
    assert campaign.client.steady
