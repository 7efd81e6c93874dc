"""The program.

Exit statuses: 0 stopped as asked, 1 something had to be killed, 2 configuration, 3 data directory, 4 port,
71 a part cannot be run; else that of the part that would not keep running.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import click
import structlog

from chronos_common import VERSION
from chronos_common.config import Config, InvalidConfig, load_config
from chronos_common.logs import configure_logging
from cli.chronos.certs import CannotCertify, make_certificates, parse_nodes
from cli.chronos.config_check import check, source
from cli.chronos.keys import keys
from cli.chronos.local_cluster import local_cluster
from cli.chronos.node import (
    api_program,
    children_environ,
    command,
    config_path,
    prepare_keys,
    welcome,
    worker_program,
)
from cli.chronos.probes import PortTaken, check_free
from cli.chronos.supervisor import Supervisor

CONFIGURATION: Final = 2
PORT: Final = 4
_PRIVATE: Final = 0o077

_config = click.option(
    "--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="The YAML file; else CHRONOS_CONFIG."
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@_config
@click.version_option(VERSION, prog_name="chronos")
@click.pass_context
def chronos(context: click.Context, path: Path | None) -> None:
    """Run a whole node: worker and API under one supervisor. Without a file: a single node on loopback."""
    context.obj = path
    if context.invoked_subcommand is None:
        sys.exit(_run_node(config_path(path, os.environ)))


def _run_node(path: Path | None) -> int:
    config = load_config(path, os.environ)
    check_free("server.http.address", config.server.http.address)
    check_free("cluster.control.address", config.cluster.control.address)
    configure_logging(config.logging.level, config.logging.format)
    log = structlog.get_logger("chronos")
    data_dir = Path(config.cluster.data_dir).absolute()
    supervisor = Supervisor(
        [
            worker_program(config, path),
            api_program(config, path, prepare=prepare_keys(config, os.environ)),
        ],
        environ=children_environ(os.environ),
        log=log,
        announce=_announcement(config, f"node {config.cluster.node_id}, data in {data_dir}", log),
    )
    return supervisor.run()


def _announcement(config: Config, node: str, log: structlog.stdlib.BoundLogger) -> Callable[[], None]:
    """A page for a person, or one event for a machine."""
    if config.logging.format == "json":
        return lambda: log.info("node_running", node_id=config.cluster.node_id, address=config.server.http.address)
    return lambda: click.echo(welcome(config, node))


@chronos.command()
@_config
@click.pass_obj
def worker(outer: Path | None, path: Path | None) -> NoReturn:
    """Run a worker alone."""
    path = config_path(path or outer, os.environ)
    load_config(path, os.environ)
    _become("chronos_worker", path)


@chronos.command()
@_config
@click.pass_obj
def api(outer: Path | None, path: Path | None) -> NoReturn:
    """Run the API alone; it needs the cluster secret and, in api.workers, the workers' control addresses."""
    path = config_path(path or outer, os.environ)
    config = load_config(path, os.environ)
    check_free("server.http.address", config.server.http.address)
    prepare_keys(config, os.environ)()
    _become("chronos_api", path)


def _become(module: str, path: Path | None) -> NoReturn:
    os.umask(_PRIVATE)
    arguments = command(module, path)
    os.execve(arguments[0], arguments, children_environ(os.environ))  # noqa: S606 - our own program


@chronos.command()
@_config
@click.argument("part", type=click.Choice(["api", "worker"]), default="api")
@click.pass_obj
def health(outer: Path | None, path: Path | None, part: str) -> None:
    """Ask the API, or the worker, of this configuration whether it answers: exit status 0, else 1."""
    path = config_path(path or outer, os.environ)
    config = load_config(path, os.environ)
    program = worker_program(config, path) if part == "worker" else api_program(config, path)
    if not program.is_ready():
        click.echo(f"the {part} does not answer", err=True)
        sys.exit(1)


@chronos.group()
def config() -> None:
    """The configuration."""


@config.command("check")
@_config
@click.pass_obj
def config_check(outer: Path | None, path: Path | None) -> None:
    """Say ok and show the effective configuration, or show every problem (exit status 2)."""
    path = config_path(path or outer, os.environ)
    effective = check(path, os.environ)
    click.echo(f"# ok: {source(path)}\n{effective}", nl=False)


@chronos.command()
@click.option("--nodes", required=True, metavar="n1,n2=HOST+HOST,…", help="Node ids, with hosts if they differ.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
@click.option("--days", type=click.IntRange(1, 36_500), default=3_650, show_default=True, help="Validity.")
def certs(nodes: str, out: Path, days: int) -> None:
    """Make a certificate authority for a cluster, and a certificate and key for each of its nodes."""
    now = datetime.datetime.now(datetime.UTC)
    for path in make_certificates(parse_nodes(nodes), out, now, days):
        click.echo(path)
    click.echo(
        "\nEach node needs ca.pem and its own two files: cluster.raft.tls {ca, cert, key}.\n"
        f"Keep {out / 'ca.key'} off the nodes; it signs those that join later.",
        err=True,
    )


chronos.add_command(keys)
chronos.add_command(local_cluster)


def main() -> None:
    """Run, and end with the status of what happened."""
    try:
        chronos.main(prog_name="chronos", standalone_mode=False)
    except InvalidConfig as error:
        click.echo(f"chronos: {error.source} cannot be used:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(CONFIGURATION)
    except PortTaken as error:
        click.echo(f"chronos: {error}", err=True)
        sys.exit(PORT)
    except CannotCertify as error:
        click.echo(f"chronos: {error}", err=True)
        sys.exit(CONFIGURATION)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as failure:
        failure.show()
        sys.exit(failure.exit_code)
