"""What is published: percentiles, units, the shape of the JSON, the page."""

import json

import msgspec
import pytest

from bench.ledger import Totals
from bench.report import BEGIN, END, Report, figures, insert, markdown, read, save, table
from bench.scenarios import SCENARIOS
from bench.statistics import Figure, figure, percentile, unit_of
from bench.targets import TARGETS, targets_of

REPORT = Report(
    scenario="throughput",
    nodes=3,
    machine={"cpu": "a processor", "cores": 2, "load_1m_before": 0.1},
    commit="abc",
    settings={"runs": 3},
    metrics=figures([{"executions_per_s": 10.0}, {"executions_per_s": 30.0}, {"executions_per_s": 20.0}]),
    ledger=Totals(expected=5, recorded=4, sink=4, missing=1, doubled=0),
)


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([5], 50, 5), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 102), 99, 100), ([3, 1, 2], 100, 3)],
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(values, share, found):
    assert percentile(list(values), share) == found


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("name", "unit"), [("executions_per_s", "1/s"), ("lateness_p99_ms", "ms"), ("ready_s", "s"), ("rss_mb", "MB")]
)
def test_a_metrics_unit_is_in_its_name(name, unit):
    assert unit_of(name) == unit


def test_a_metric_without_a_unit_is_refused():
    with pytest.raises(ValueError, match="ends in no unit"):
        figure("lateness", [1.0])


def test_runs_become_median_least_and_most():
    assert REPORT.metrics["executions_per_s"] == Figure(20.0, 10.0, 30.0, "1/s")


def test_a_metric_that_some_runs_lack_counts_where_it_is():
    assert figures([{"a_s": 1.0}, {"b_s": 2.0}])["b_s"] == Figure(2.0, 2.0, 2.0, "s")


def test_the_json_has_exactly_these_fields(tmp_path):
    save(REPORT, tmp_path / "new" / "one.json")
    written = json.loads((tmp_path / "new" / "one.json").read_text())
    assert list(written) == ["scenario", "nodes", "machine", "commit", "settings", "metrics", "ledger"]
    assert written["metrics"] == {"executions_per_s": {"median": 20.0, "min": 10.0, "max": 30.0, "unit": "1/s"}}
    assert written["ledger"] == {"expected": 5, "recorded": 4, "sink": 4, "missing": 1, "doubled": 0}
    assert read(tmp_path / "new") == [REPORT]


def test_a_file_that_is_no_report_is_refused(tmp_path):
    (tmp_path / "one.json").write_text('{"scenario": "throughput"}')
    with pytest.raises(msgspec.ValidationError):
        read(tmp_path)


def test_the_table_shows_what_is_missing():
    assert "missing 1, doubled 0" in table(REPORT)


@pytest.mark.parametrize(("rate", "judged"), [(1_999, "missed"), (2_000, "kept"), (4_999, "kept"), (5_000, "goal")])
def test_the_page_says_what_was_reached(rate, judged):
    report = msgspec.structs.replace(REPORT, metrics=figures([{"executions_per_s": rate}]))
    assert f"| ≥ 2,000 1/s | ≥ 5,000 1/s | {rate:,} 1/s | {judged} |" in markdown([report])


@pytest.mark.parametrize(("median", "judged"), [(50.1, "missed"), (50.0, "kept"), (15.1, "kept"), (15.0, "goal")])
def test_less_may_be_better(median, judged):
    [target] = [target for target in targets_of("punctuality", 3) if target.metric == "lateness_p99_ms"]
    assert target.judge(median) == judged
    assert target.relation == "≤"


@pytest.mark.parametrize(("median", "judged"), [(50.1, "missed"), (50.0, "goal")])
def test_the_goal_may_be_what_must_be(median, judged):
    [target] = [target for target in targets_of("history", 1) if target.metric == "pruning_lateness_max_ms"]
    assert target.judge(median) == judged


def test_no_goal_is_less_than_what_must_be():
    assert all(target.judge(target.goal) == "goal" for target in TARGETS)
    assert all(target.judge(target.must) in ("goal", "kept") for target in TARGETS)


def test_every_target_is_of_a_scenario():
    assert {target.scenario for target in TARGETS} <= SCENARIOS.keys()


def test_the_page_gets_its_results_between_its_marks():
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    once = insert(page, markdown([REPORT]))
    assert "| `throughput`, 3 node(s) | `executions_per_s` | 20 | 10 | 30 | 1/s |" in once
    assert "old" not in once
    assert once.startswith("above\n")
    assert once.endswith(f"{END}\nbelow\n")
    assert insert(once, markdown([REPORT])) == once


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="no lines"):
        insert("a page", "results")
