"""The program: global options, and one group of commands a noun."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from cli.chronosctl.applying import apply_jobs, export_jobs
from cli.chronosctl.backups import backup, restore
from cli.chronosctl.cluster import cluster
from cli.chronosctl.completion import completion
from cli.chronosctl.configuring import config
from cli.chronosctl.editions import diff, rollback, versions
from cli.chronosctl.executions import execution
from cli.chronosctl.failures import CliError
from cli.chronosctl.importing import import_crontab
from cli.chronosctl.jobs import job
from cli.chronosctl.output import FORMATS
from cli.chronosctl.schedules import schedule
from cli.chronosctl.session import Options
from cli.chronosctl.webhooks import webhook


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--server", metavar="URL", help="The API's address; else CHRONOS_SERVER, else http://127.0.0.1:8080.")
@click.option("-o", "--output", type=click.Choice(FORMATS), help="How to print answers.")
@click.option("--ca", metavar="FILE", help="PEM certificates to trust for https, in place of the usual ones.")
@click.option("--timeout", metavar="DURATION", help="How long to wait for one answer; else 90s.")
@click.pass_context
def chronosctl(ctx: click.Context, /, **given: str | None) -> None:
    """Look after the jobs of a Chronos.

    The API key comes from CHRONOS_API_KEY or from api_key in ~/.config/chronos/config.yaml.

    Exit status: 0 done, 1 defect, 2 bad input, 3 not allowed, 4 not found, 5 conflict, 6 no answer in time,
    7 the awaited execution did not succeed.
    """
    ctx.obj = Options(given, os.environ if ctx.obj is None else ctx.obj)


@click.command("version")
def show_version() -> None:
    """Print the version of this program."""
    try:
        click.echo(f"chronosctl {version('chronos-cron')}")
    except PackageNotFoundError:
        click.echo("chronosctl (run from its source)")


for command in (apply_jobs, export_jobs, versions, diff, rollback, import_crontab):
    job.add_command(command)
for command in (job, execution, cluster, backup, restore, schedule, webhook, config, completion, show_version):
    chronosctl.add_command(command)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run, and end with the status of what happened. The arguments and the environment are the process's own."""
    try:
        status = chronosctl.main(arguments, prog_name="chronosctl", standalone_mode=False, obj=environ)
        sys.exit(status if isinstance(status, int) else 0)
    except click.Abort:
        click.echo("chronosctl: interrupted", err=True)
        sys.exit(130)
    except CliError as failure:
        failure.show()
        sys.exit(failure.status)
    except click.ClickException as failure:
        failure.show()
        sys.exit(failure.exit_code)
    except Exception as defect:  # noqa: BLE001 - the rim of the program: nobody is shown a traceback
        _tell_defect(defect)
        sys.exit(1)


def _tell_defect(defect: Exception) -> None:
    """Own up in one line, with the place for whoever will look into it."""
    place = traceback.extract_tb(defect.__traceback__)[-1]
    click.echo(f"chronosctl: a defect, or an answer in no known form: {type(defect).__name__}: {defect}", err=True)
    click.echo(f"  at {Path(place.filename).name}:{place.lineno}; please report it, with your command", err=True)
