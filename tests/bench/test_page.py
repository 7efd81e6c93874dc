"""docs/performance.md speaks of what there is."""

import re
from pathlib import Path

from click.testing import CliRunner

from bench.__main__ import bench
from bench.report import insert
from bench.scenarios import SCENARIOS

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")


def test_every_scenario_is_described_and_no_other():
    table = PAGE.partition("## What each scenario does")[2].partition("`worker_cpu_us`")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(SCENARIOS)


def test_the_page_takes_results():
    assert "here they are" in insert(PAGE, "here they are")


def test_every_scenario_is_a_command_that_explains_itself():
    for name, scenario in SCENARIOS.items():
        result = CliRunner().invoke(bench, [name, "--help"])
        assert result.exit_code == 0
        assert " ".join(scenario.about.split()[:3]) in " ".join(result.output.split())


def test_a_profile_is_told_by_stage_and_function():
    from bench.profile import Sample, by_function, by_stage

    step = "chronos_worker/node.py:Node.step"
    samples = [Sample(2.0, ("a.py:run", step, "b.py:apply", "c.py:fire")), Sample(1.0, ("a.py:run", step))]
    assert by_stage(samples) == {"apply > fire": 2.0, "Node.step itself": 1.0}
    assert by_function(samples, inclusive=False) == {"c.py:fire": 2.0, step: 1.0}
    assert by_function(samples, inclusive=True)["a.py:run"] == 3.0
