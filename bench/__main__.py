"""`python -m bench SCENARIO [--nodes N] [--runs N] [--duration S] [--json FILE] [--quick]`."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from bench import profile, report
from bench.ledger import Totals
from bench.machine import commit, machine
from bench.peers import sitting
from bench.processes import BenchFailed
from bench.scenario import Place, Run, Scenario, Setup
from bench.scenarios import SCENARIOS
from bench.sink import nginx_path


@click.group()
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where nodes keep their data while they are measured. Default: the system's temporary directory.",
)
@click.pass_context
def bench(context: click.Context, directory: Path | None) -> None:
    """Start Chronos as real processes, load it, measure it, and check its ledger."""
    context.obj = directory
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _command(scenario: Scenario) -> click.Command:
    @click.option("--nodes", type=click.IntRange(1, 7), help=f"Workers. Default: {scenario.full.nodes}.")
    @click.option("--runs", type=click.IntRange(1), help="How often; medians are shown. Default: 5, with --quick 1.")
    @click.option("--duration", "duration_s", type=click.IntRange(1), help="Seconds of load.")
    @click.option("--rate", "rate_per_s", type=click.IntRange(1), help="Load a second.")
    @click.option(
        "--size", type=click.IntRange(1), help="Jobs, executions, requests or kills, as the scenario has it."
    )
    @click.option(
        "--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here too."
    )
    @click.option("--quick", is_flag=True, help="One short, small run: to see that it works.")
    @click.pass_obj
    def run(directory: Path | None, /, file: Path | None, quick: bool, **given: int | None) -> None:
        setup = scenario.quick if quick else scenario.full
        chosen = {name: value for name, value in given.items() if value is not None}
        if not perform(scenario, msgspec.structs.replace(setup, **chosen), directory, file):
            sys.exit(1)

    return click.command(scenario.name, help=scenario.about)(run)


for _scenario in SCENARIOS.values():
    bench.add_command(_command(_scenario))


def perform(scenario: Scenario, setup: Setup, directory: Path | None, file: Path | None) -> bool:
    """Run a scenario, show its table and write its JSON; whether its ledger is clean."""
    with tempfile.TemporaryDirectory(prefix="chronos-bench-", dir=directory) as root:
        facts = machine(Path(root))
        runs: list[Run] = []
        try:
            for run in scenario.measure(setup, Place(Path(root))):
                runs.append(run)
                click.echo(f"{scenario.name} run {len(runs)} of {setup.runs}: {_short(run)}", err=True)
        except BenchFailed as failure:
            click.echo(f"bench: {scenario.name}: {failure}", err=True)
            return False
    settings: dict[str, Any] = {**setup.settings(), **scenario.notes, "sink": "nginx" if nginx_path() else "own"}
    totals = Totals()
    for run in runs:
        totals = totals.plus(run.totals)
    found = report.Report(
        scenario.name, setup.nodes, facts, commit(), settings, report.figures([run.metrics for run in runs]), totals
    )
    click.echo(report.table(found))
    for problem in [problem for run in runs for problem in run.verdict.problems]:
        click.echo(f"  ! {problem}", err=True)
    if file is not None:
        report.save(found, file)
    return totals.clean


def _short(run: Run) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in list(run.metrics.items())[:4])


@bench.command("profile")
@click.option("--of", type=click.Choice(["executions", "load"]), default="executions", show_default=True)
@click.option("--nodes", type=click.IntRange(1, 7), default=1, show_default=True)
@click.option("--duration", "duration_s", type=click.IntRange(1), default=10, show_default=True)
@click.option("--rate", "rate_per_s", type=click.IntRange(1), default=4_000, show_default=True)
@click.option("--size", type=click.IntRange(1), default=20_000, show_default=True, help="Jobs to load.")
@click.pass_obj
def profile_command(directory: Path | None, /, of: str, **given: int) -> None:
    """Sample the leader's main thread under load: microseconds for each execution, by stage and function."""
    with tempfile.TemporaryDirectory(prefix="chronos-bench-", dir=directory) as root:
        show = profile.loading if of == "load" else profile.executions
        click.echo(show(Path(root), Setup(runs=1, **given)))


@bench.command("peers")
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--duration", "duration_s", type=click.IntRange(1), default=30, show_default=True)
@click.option("--rate", "rates", type=click.IntRange(1), multiple=True, default=(200, 2_000), show_default=True)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write it here too.")
@click.pass_obj
def peers_command(
    directory: Path | None, /, runs: int, duration_s: int, rates: tuple[int, ...], file: Path | None
) -> None:
    """APScheduler, Celery beat with Redis, and a plain loop at the same job as Chronos; see bench/peers/README.md."""
    for name, lack in sitting.missing().items():
        click.echo(f"bench: peers: {name} is left out: {lack}", err=True)
    scenario = Scenario(
        name="peers",
        about="",
        full=Setup(),
        quick=Setup(),
        measure=lambda setup, place: sitting.measure(setup, place, rates),
        notes={"offered_per_s": ", ".join(map(str, rates))},
    )
    if not perform(scenario, Setup(runs=runs, duration_s=duration_s), directory, file):
        sys.exit(1)


@bench.command("report")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--into", "page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def report_command(results: Path, page: Path | None) -> None:
    """Render the JSON files of a directory as Markdown; with --into between the marks of a page."""
    text = report.markdown(report.read(results))
    if page is None:
        click.echo(text)
    else:
        page.write_text(report.insert(page.read_text(encoding="utf-8"), text), encoding="utf-8")


@bench.command("all")
@click.option("--json", "results", type=click.Path(file_okay=False, path_type=Path), help="A directory for the JSON.")
@click.option("--quick", is_flag=True, help="One short, small run of each.")
@click.pass_obj
def all_command(directory: Path | None, /, results: Path | None, quick: bool) -> None:
    """Every scenario one after another, throughput with one node and with three."""
    clean = True
    for scenario in SCENARIOS.values():
        setup = scenario.quick if quick else scenario.full
        for each in [setup, *scenario.also(setup)]:
            file = results / f"{scenario.name}-{each.nodes}.json" if results else None
            clean &= perform(scenario, each, directory, file)
    if not clean:
        sys.exit(1)


if __name__ == "__main__":
    bench()
