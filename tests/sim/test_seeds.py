"""Seeds of the whole-node simulation that run with every `make test`; `make sim` runs as many as you like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.campaign import Campaign

KEPT = [int(line.split()[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line]
FRESH = 100


@pytest.mark.parametrize("seed", [*KEPT, *(seed for seed in range(FRESH) if seed not in KEPT)])
def test_the_promises_hold_under_the_faults_of(seed, tmp_path):
    Campaign(tmp_path / "world", seed).run()


def test_the_same_seed_gives_the_same_trace_byte_for_byte(tmp_path):
    traces = []
    for run in ("first", "second"):
        campaign = Campaign(tmp_path / run, 3)
        campaign.run()
        traces.append("\n".join(campaign.world.trace))
    assert traces[0] == traces[1]
