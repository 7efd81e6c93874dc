"""Seeds of the whole-node simulation that run with every `make test`; `make sim` runs as many as you like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.campaign import Campaign
from tests.sim.plots import PLOTS

KEPT = [int(line.split()[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line]
FRESH = 100


@pytest.mark.parametrize("seed", [*KEPT, *(seed for seed in range(FRESH) if seed not in KEPT)])
def test_the_promises_hold_under_the_faults_of(seed, tmp_path):
    Campaign(tmp_path / "world", seed).run()


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.__name__)
def test_the_promises_hold_while_one_plot_follows_another_of(plot, tmp_path):
    for seed in range(2):
        Campaign(tmp_path / str(seed), seed, plot).run()


def test_the_same_seed_gives_the_same_trace_byte_for_byte(tmp_path):
    """Also where Python draws other hash values for strings, so that sets are walked in another order."""
    program = (
        "import pathlib, sys; from tests.sim.campaign import Campaign; "
        "campaign = Campaign(pathlib.Path(sys.argv[1]), 3); campaign.run(); "
        "pathlib.Path(sys.argv[2]).write_text('\\n'.join(campaign.world.trace))"
    )
    traces = []
    for hash_seed in ("1", "2"):
        trace = tmp_path / f"trace-{hash_seed}"
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / hash_seed), str(trace)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        )
        traces.append(trace.read_bytes())
    assert len(traces[0].splitlines()) > 500
    assert traces[0] == traces[1]
