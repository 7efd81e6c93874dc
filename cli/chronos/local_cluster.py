"""`chronos local-cluster`: three workers and two API processes on this machine, to see a leader fail.

What `docker/compose.yaml` describes for containers, on loopback ports.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import structlog
import yaml

from chronos_common.config import load_config
from chronos_common.logs import configure_logging
from cli.chronos.child import Program
from cli.chronos.node import api_program, beside, children_environ, worker_program
from cli.chronos.probes import check_free
from cli.chronos.supervisor import Supervisor

WORKERS: Final = 3
APIS: Final = 2
_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of every process, by its number."""

    raft: tuple[int, ...]
    control: tuple[int, ...]
    api: tuple[int, ...]

    @classmethod
    def from_bases(cls, base: int, api_base: int) -> Ports:
        """Raft from base + 1 on, control from base + 11 on, the APIs from api_base on."""
        return cls(
            raft=tuple(base + 1 + number for number in range(WORKERS)),
            control=tuple(base + 11 + number for number in range(WORKERS)),
            api=tuple(api_base + number for number in range(APIS)),
        )


@click.command("local-cluster")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path("chronos-cluster"))
@click.option("--base-port", type=click.IntRange(1, 65_000), default=7_600, show_default=True, help="Private ports.")
@click.option("--api-port", type=click.IntRange(1, 65_000), default=8_080, show_default=True, help="The first API's.")
def local_cluster(directory: Path, base_port: int, api_port: int) -> None:
    """Run three workers and two API processes on this machine; data and configuration in ./chronos-cluster."""
    ports = Ports.from_bases(base_port, api_port)
    sys.exit(run(directory.absolute(), ports))


def run(directory: Path, ports: Ports) -> int:
    """Run the cluster until told to stop; returns the exit status."""
    worker_paths, api_paths = write_configs(directory, ports)
    workers = [load_config(path, {}) for path in worker_paths]
    apis = [load_config(path, {}) for path in api_paths]
    for config in workers:
        check_free("cluster.raft.address", config.cluster.raft.address)
        check_free("cluster.control.address", config.cluster.control.address)
    for config in apis:
        check_free("server.http.address", config.server.http.address)
    configure_logging("info", "console")
    programs: list[Program] = [
        worker_program(config, path, config.cluster.node_id)
        for config, path in zip(workers, worker_paths, strict=True)
    ]
    programs += [
        api_program(config, path, f"api-{number}")
        for number, (config, path) in enumerate(zip(apis, api_paths, strict=True), 1)
    ]
    supervisor = Supervisor(
        programs,
        environ={name: value for name, value in children_environ(os.environ).items() if not _overrides(name)},
        log=structlog.get_logger("chronos"),
        announce=lambda: click.echo(_welcome(directory, ports)),
    )
    return supervisor.run()


def _overrides(name: str) -> bool:
    """Whether a variable would give all the processes the same value for a key."""
    return name.startswith("CHRONOS_")


def write_configs(directory: Path, ports: Ports) -> tuple[list[Path], list[Path]]:
    """One file for each worker and each API; the secret of the cluster is made once and kept."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = directory / "secret"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    members = {f"worker-{number}": f"{_HOST}:{port}" for number, port in enumerate(ports.raft, 1)}
    workers = []
    for (node_id, address), control in zip(members.items(), ports.control, strict=True):
        peers = [{"id": other, "address": where} for other, where in members.items() if other != node_id]
        document = {
            "cluster": {
                "node_id": node_id,
                "data_dir": str(directory / node_id),
                "secret_file": str(secret),
                "raft": {"address": address, "peers": peers},
                "control": {"address": f"{_HOST}:{control}"},
            }
        }
        workers.append(_write(directory / f"{node_id}.yaml", document))
    apis = []
    for number, port in enumerate(ports.api, 1):
        document = {
            "cluster": {"node_id": f"api-{number}", "data_dir": str(directory), "secret_file": str(secret)},
            "server": {"http": {"address": f"{_HOST}:{port}", "processes": 1}},
            "api": {"workers": [f"http://{_HOST}:{control}" for control in ports.control]},
        }
        apis.append(_write(directory / f"api-{number}.yaml", document))
    return workers, apis


def _write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _welcome(directory: Path, ports: Ports) -> str:
    control = beside("chronosctl")
    bases = [f"http://{_HOST}:{port}" for port in ports.api]
    return "\n".join([
        f"\nA cluster of {WORKERS} workers and {APIS} API processes is running; all of it in {directory}\n",
        *(f"  API         {base}/api/v1   Swagger UI {base}/docs" for base in bases),
        "",
        "Try next, in another terminal:",
        f"  {control} --server {bases[0]} cluster status",
        f"  {control} --server {bases[1]} job create -f examples/jobs.yaml",
        "  kill -9 PID     of a worker; the log above names them: it is started anew, and nothing is missed",
        "",
        "Ctrl-C drains and stops everything.",
        "",
    ])  # fmt: skip
