"""`python -m tests.cluster`: a campaign against real processes, see `--help`."""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.cluster.campaign import Campaign, told
from tests.cluster.lab import lab
from tests.cluster.nemeses import NEMESES
from tests.cluster.network import NotPermitted


@click.command()
@click.option(
    "--seconds", type=click.IntRange(min=1), help="How long to inject, 60 if not said; each kind comes once."
)
@click.option(
    "--kills", type=click.IntRange(min=1), help="Inject until the leader was killed so often, for 2 h at most."
)
@click.option(
    "--faults", default="", help=f"Kinds, with commas: {', '.join(NEMESES)}. Default: all; with --kills: kill."
)
@click.option("--seed", type=int, help="Draws the schedule. Default: the time.")
def main(seconds, kills, faults, seed):
    """Break a cluster of real processes and judge what came of it. Ends with 1 if anything is wrong."""
    kinds = [kind for kind in faults.split(",") if kind] or (["kill"] if kills else list(NEMESES))
    if unknown := [kind for kind in kinds if kind not in NEMESES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(NEMESES)}", param_hint="--faults")
    if kills and "kill" not in kinds:
        raise click.BadParameter(f"{faults!r} lacks 'kill', which --kills counts", param_hint="--faults")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seconds = seconds or (7_200 if kills else 60)
    seed = seed if seed is not None else int(time.time())
    directory = Path(tempfile.mkdtemp(prefix="chronos-chaos-"))
    transcript = (directory / "transcript.txt").open("w", buffering=1)

    def say(line):
        click.echo(line)
        print(line, file=transcript)

    say(f"seed {seed}, faults {','.join(kinds)}, {kills or 'any number of'} kills, {seconds} s, in {directory}")
    try:
        with lab(directory) as running:
            figures = Campaign(running, seed, say).run(kinds, seconds, kills)
    except NotPermitted as refused:
        say(f"NOT RUN: {refused}")
        sys.exit(1)
    say(told(figures))
    done = figures["faults"].get("kill", 0)
    if figures["complaints"] or (kills and done < kills):
        say(f"FAILED after {done} kill(s); repeat with --seed {seed}; transcript, logs and data: {directory}")
        sys.exit(1)
    if figures["not_permitted_here"]:
        say(f"nothing wrong, but NOT RUN, because not permitted here: {', '.join(figures['not_permitted_here'])}")
    else:
        say("nothing wrong")
    transcript.close()
    shutil.rmtree(directory)


main(prog_name="python -m tests.cluster")
