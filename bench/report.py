"""The result of a scenario: as JSON, as a table for a terminal, and as Markdown for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.ledger import Totals
from bench.statistics import Figure, figure
from bench.targets import targets_of

BEGIN: Final = "<!-- results: written by `python -m bench report`, not by hand -->"
END: Final = "<!-- end of results -->"


class Report(msgspec.Struct, frozen=True):
    """What is published of a scenario."""

    scenario: str
    nodes: int
    machine: dict[str, Any]
    commit: str
    settings: dict[str, Any]
    metrics: dict[str, Figure]
    ledger: Totals


def figures(runs: Sequence[dict[str, float]]) -> dict[str, Figure]:
    """Each metric over all runs; a metric that some runs lack is taken from those that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: figure(name, [run[name] for run in runs if name in run]) for name in names}


def save(report: Report, file: Path) -> None:
    """Write the JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read(directory: Path) -> list[Report]:
    """Every report in a directory, by name.

    Raises:
        msgspec.ValidationError: a file is not a report.
    """
    return [msgspec.json.decode(file.read_bytes(), type=Report) for file in sorted(directory.glob("*.json"))]


def table(report: Report) -> str:
    """For a terminal."""
    settings = ", ".join(f"{name}={value}" for name, value in report.settings.items())
    lines = [f"\n{report.scenario}, {report.nodes} node(s), {report.commit}: {settings}"]
    rows = [("", "median", "min", "max", "")]
    rows += [
        (name, _number(found.median), _number(found.min), _number(found.max), found.unit)
        for name, found in report.metrics.items()
    ]
    width = max(len(row[0]) for row in rows)
    lines += [f"  {name:{width}} {median:>12} {low:>12} {high:>12} {unit}" for name, median, low, high, unit in rows]
    counts = msgspec.to_builtins(report.ledger)
    lines.append("  ledger: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    return "\n".join(lines)


def markdown(reports: Iterable[Report]) -> str:
    """What was asked and what came of it, then everything that was measured, and where it comes from."""
    found = list(reports)
    lines = [*_judged(found), "", "| scenario | metric | median | min | max | unit |", "|---|---|---|---|---|---|"]
    for report in found:
        title = f"`{report.scenario}`, {report.nodes} node(s)"
        for name, value in report.metrics.items():
            cells = [_number(each) for each in (value.median, value.min, value.max)]
            lines.append(f"| {title} | `{name}` | {' | '.join(cells)} | {value.unit} |")
            title = ""
    lines += [
        "",
        "| scenario | expected | recorded | at the sink | missing | doubled | commit | settings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for report in found:
        counts = " | ".join(f"{count:,}" for count in msgspec.to_builtins(report.ledger).values())
        settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
        lines.append(f"| `{report.scenario}`, {report.nodes} | {counts} | {report.commit} | {settings} |")
    for facts in {str(_steady(report.machine)): _steady(report.machine) for report in found}.values():
        lines += ["", "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def _judged(reports: Iterable[Report]) -> list[str]:
    """The table of targets."""
    lines = ["| scenario | metric | must be | goal | median | |", "|---|---|---|---|---|---|"]
    for report in reports:
        title = f"`{report.scenario}`, {report.nodes} node(s)"
        for target in targets_of(report.scenario, report.nodes):
            found = report.metrics[target.metric]
            bounds = " | ".join(
                f"{target.relation} {_measured(bound, found.unit)}" for bound in (target.must, target.goal)
            )
            judged = f"{_measured(found.median, found.unit)} | {target.judge(found.median)}"
            lines.append(f"| {title} | `{target.metric}` | {bounds} | {judged} |")
            title = ""
    return lines


def insert(text: str, results: str) -> str:
    """A page with its results replaced.

    Raises:
        ValueError: the page has no place for results.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r} between which results could stand")
    return f"{before}{BEGIN}\n\n{results}\n{END}{after}"


def _steady(machine: dict[str, Any]) -> dict[str, Any]:
    """What does not change from one scenario to the next."""
    return {name: value for name, value in machine.items() if not name.startswith("load_")}


def _measured(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"
