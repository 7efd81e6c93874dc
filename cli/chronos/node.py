"""A whole node: what has to run, and what a person is told when it does."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from chronos_common import VERSION
from chronos_common.config import Config, InvalidConfig, is_loopback, read_api_keys, read_secret, split_address
from chronos_common.protocol import SECRET_HEADER
from cli.chronos.child import Program, nothing
from cli.chronos.first_key import VARIABLE, ensure_admin_key
from cli.chronos.probes import answers, reachable

_MARGIN_S = 10.0
"""Beyond the worker's own grace, for what it does after it."""
_API_GRACE_S = 15.0


def worker_program(config: Config, path: Path | None, name: str = "worker") -> Program:
    """The worker; ready when its control port answers."""
    address = config.cluster.control.address

    def is_ready() -> bool:
        try:
            secret = read_secret(config)
        except InvalidConfig:  # a first start has not made it yet
            return False
        return answers(address, "/v1/status", {SECRET_HEADER: secret})

    grace_s = config.cluster.drain_grace / 1_000 + _MARGIN_S
    return Program(name, command("chronos_worker", path), is_ready, grace_s)


def api_program(
    config: Config, path: Path | None, name: str = "api", prepare: Callable[[], None] = nothing
) -> Program:
    """The API; ready when it answers."""
    address = config.server.http.address
    return Program(
        name, command("chronos_api", path), lambda: answers(address, "/health/live", {}), _API_GRACE_S, prepare
    )


def command(module: str, path: Path | None) -> tuple[str, ...]:
    """How a part of ours is run: this Python, without the current directory on its path."""
    return (sys.executable, "-P", "-m", module, *(("--config", str(path)) if path else ()))


def children_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the parts: ours, without the key that only the first start needs."""
    return {name: value for name, value in environ.items() if name != VARIABLE}


def prepare_keys(config: Config, environ: Mapping[str, str]) -> Callable[[], None]:
    """What has to be done before the API starts: there must be a key, if one is wanted."""
    return lambda: ensure_admin_key(config, environ, show_key)


def show_key(key: str) -> None:
    """Show a key that was made; nobody can show it again."""
    click.echo(
        f"\nThe first start made an API key of scope admin. It is shown this once and kept only as a hash:\n\n"
        f"    {key}\n\nSend it as Authorization: Bearer KEY, or set CHRONOS_API_KEY for chronosctl.\n"
    )
    sys.stdout.flush()


def welcome(config: Config, node: str) -> str:
    """Where everything is, and what to try next."""
    http, metrics = config.server.http, config.metrics.prometheus
    base = f"http://{reachable(http.address)}"
    control = beside("chronosctl")
    lines = [
        f"\nChronos {VERSION} is running: {node}\n",
        f"  API         {base}/api/v1",
        f"  Swagger UI  {base}/docs",
        f"  Metrics     {base + metrics.path if metrics.enabled else 'metrics.prometheus.enabled is false'}",
        "",
        _access(config),
        "",
        "Try next, in another terminal:",
        f"  {control} job list",
        f"  {control} job create -f examples/jobs.yaml",
        f"  {control} cluster status",
        "",
        "Ctrl-C drains and stops.",
        "",
    ]
    return "\n".join(lines)


def beside(program: str) -> str:
    """How to call another program of ours from here: by name if the shell finds it, else by path."""
    if shutil.which(program):
        return program
    path = Path(sys.executable).parent / program
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _access(config: Config) -> str:
    host, _ = split_address(config.server.http.address)
    if config.auth.mode == "none":
        return "auth.mode is none: whoever reaches the address may do everything."
    if not read_api_keys(config) and is_loopback(host):
        return "No API key is configured: it listens on loopback only, and everyone on this machine may use it."
    return "An API key is needed; set CHRONOS_API_KEY for chronosctl."


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file in absolute form: --config, else CHRONOS_CONFIG, else none."""
    named = environ.get("CHRONOS_CONFIG")
    path = given or (Path(os.path.expanduser(named)) if named else None)  # noqa: PTH111 - of a text
    return path.absolute() if path else None
