"""`python -m tests.sim`: many seeds of the whole-node simulation, or the mutants that it has to catch."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click
import structlog

from chronos_common.garbage import collect_seldom
from tests.sim.campaign import Campaign
from tests.sim.mutants import MUTANTS, caught_by, check_lines

SEEDS_FILE = Path(__file__).parent / "seeds.txt"
_FAST = Path("/dev/shm")
_TRANSCRIPT_LINES = 60


def run_seed(seed: int) -> tuple[int, str, dict[str, int]]:
    """One seed: what went wrong (empty if nothing did), and what it was made of."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None) as directory:
        campaign = Campaign(Path(directory) / "world", seed)
        try:
            campaign.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed is the finding
            transcript = "\n".join(campaign.world.trace[-_TRANSCRIPT_LINES:])
            return seed, f"{type(error).__name__}: {error}\n{transcript}", {}
        world = campaign.world
        tally = {
            "crashes": world.crashes,
            "commands": len(campaign.client.errands),
            "webhooks": len(world.targets.requests),
            "entries": len(world.laws.committed),
            "digests": len(world.digests),
            "elections": len(world.laws.leaders),
            **campaign.faults,
        }
        return seed, "", tally


@click.group()
def main() -> None:
    """Deterministic simulation of whole nodes."""


@main.command()
@click.option("--from", "first", default=0, help="The first seed.")
@click.option("--seeds", default=100, help="How many.")
@click.option("--jobs", default=2, help="Processes.")
def run(first: int, seeds: int, jobs: int) -> None:
    """Run seeds; one that fails is printed with its transcript and joins seeds.txt."""
    began = time.monotonic()
    total: dict[str, int] = {}
    failed = 0
    for seed, failure, tally in _results(range(first, first + seeds), jobs):
        if failure:
            failed += 1
            click.echo(f"seed {seed}: {failure}\n")
            _remember(seed, failure)
        for name, count in tally.items():
            total[name] = total.get(name, 0) + count
    click.echo(f"{seeds} seeds from {first} in {time.monotonic() - began:.0f} s, {failed} failed: {total}")
    raise SystemExit(1 if failed else 0)


@main.command()
@click.option("--seeds", default=300, help="Most seeds to try on a mutant.")
@click.option("--jobs", default=2, help="Processes.")
@click.option("--only", multiple=True, type=click.Choice(sorted(MUTANTS)), help="These mutants.")
def mutants(seeds: int, jobs: int, only: tuple[str, ...]) -> None:
    """Break one rule at a time; every mutant has to be caught."""
    check_lines()
    survivors = []
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(caught_by, name, seeds): name for name in only or sorted(MUTANTS)}
        for future in as_completed(futures):
            seed, reason = future.result()
            name = futures[future]
            if seed is None:
                survivors.append(name)
            click.echo(f"{name:44} {'SURVIVES' if seed is None else f'seed {seed}: {reason}'}")
    click.echo(f"{len(futures) - len(survivors)} of {len(futures)} mutants caught; survivors: {survivors or 'none'}")
    raise SystemExit(1 if survivors else 0)


def _results(seeds: range, jobs: int) -> Iterator[tuple[int, str, dict[str, int]]]:
    with ProcessPoolExecutor(jobs, initializer=collect_seldom) as pool:
        yield from pool.map(run_seed, seeds, chunksize=4)


def _remember(seed: int, failure: str) -> None:
    if str(seed) in (line.split()[0] for line in SEEDS_FILE.read_text(encoding="utf-8").splitlines()):
        return
    with SEEDS_FILE.open("a", encoding="utf-8") as file:
        file.write(f"{seed} {failure.splitlines()[0][:100]}\n")


if __name__ == "__main__":
    main()
