"""A Chronos of one or several nodes, as shipped: `python -m chronos_worker` and `python -m chronos_api`.

The configuration names addresses, directories and the secret. Everything else stays at its default, unless
a scenario says otherwise in its settings.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from bench.client import Client
from bench.ledger import is_settled
from bench.machine import cpu_s
from bench.processes import BenchFailed, Process, accepts, free_port, now_ms, wait_for
from chronos_common.protocol import SECRET_HEADER, TakeSnapshot, WorkerStatus, decode, encode

PROFILE_TO: Final = "PROFILE_TO"
"""The variable that tells a profiled worker where to write."""
_HOST: Final = "127.0.0.1"
_DRAIN_S: Final = 60.0
_API_END_S: Final = 30.0


class Cluster:
    """Workers n1, n2 ... and one API; `close` kills what still runs."""

    def __init__(
        self, directory: Path, nodes: int, api_config: Mapping[str, Any] | None = None, *, profiled: bool = False
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self._worker_module = "bench.profiled_worker" if profiled else "chronos_worker"
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        self.workers: dict[str, Process] = {}
        self.api: Process | None = None
        self.api_port = free_port()
        self._secret = secrets.token_urlsafe(32)
        (directory / "secret").write_text(self._secret, encoding="ascii")
        raft = {name: f"{_HOST}:{free_port()}" for name in self.names}
        self._control = {name: f"{_HOST}:{free_port()}" for name in self.names}
        for name in self.names:
            peers = [{"id": other, "address": address} for other, address in raft.items() if other != name]
            addresses = {"raft": {"address": raft[name], "peers": peers}, "control": {"address": self._control[name]}}
            self._write(name, addresses)
        front = {
            "server": {"http": {"address": f"{_HOST}:{self.api_port}"}},
            "api": {"workers": [f"http://{address}" for address in self._control.values()]},
        }
        self._write("api", {}, {**front, **(api_config or {})})

    def _write(self, name: str, cluster: Mapping[str, Any], rest: Mapping[str, Any] | None = None) -> None:
        own = {"node_id": name, "data_dir": str(self.directory / name), "secret_file": str(self.directory / "secret")}
        document = {"cluster": {**own, **cluster}, **(rest or {})}
        (self.directory / f"{name}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    def command(self, module: str, name: str) -> list[str]:
        """How a part is run."""
        return [sys.executable, "-m", module, "--config", str(self.directory / f"{name}.yaml")]

    # -- workers ------------------------------------------------------------------------------------------

    def start(self, *names: str) -> float:
        """Start workers and wait until they are at work under a leader; returns the seconds it took."""
        begun = time.monotonic()
        self.launch(*(names or self.names))
        self.leader()
        return time.monotonic() - begun

    def launch(self, *names: str) -> None:
        """Start workers and wait for nothing."""
        for name in names:
            self.workers[name] = Process(
                self.command(self._worker_module, name),
                self.directory / f"{name}.log",
                {PROFILE_TO: str(self.profile(name))},
            )

    def status(self, name: str) -> WorkerStatus | None:
        """What a worker says of itself; None if it does not answer."""
        try:
            answer = requests.get(
                f"http://{self._control[name]}/v1/status", headers={SECRET_HEADER: self._secret}, timeout=2
            )
        except requests.RequestException:
            return None
        return decode(answer.content, WorkerStatus) if answer.ok else None

    def cut_log(self, name: str) -> None:
        """Have a worker cut its log behind what is durable in its database."""
        url = f"http://{self._control[name]}/v1/admin"
        requests.post(url, encode(TakeSnapshot()), headers={SECRET_HEADER: self._secret}, timeout=10)

    def leader(self) -> WorkerStatus:
        """The one leader with a quorum, once there is one and every running worker is ready."""

        def look() -> WorkerStatus | None:
            statuses = []
            for name, process in self.workers.items():
                if not process.running:
                    raise BenchFailed(f"worker {name} has ended:\n{process.tail()}")
                statuses.append(self.status(name))
            known = [status for status in statuses if status is not None and status.ready]
            leaders = [status for status in known if status.role == "leader" and status.has_quorum]
            return leaders[0] if len(known) == len(self.workers) and len(leaders) == 1 else None

        return wait_for(look, "one leader, and every worker ready", 120)

    def kill(self, name: str) -> None:
        """SIGKILL to a worker and its children."""
        self.workers.pop(name).kill()

    def stop(self) -> None:
        """Drain and end the workers."""
        for process in self.workers.values():
            process.terminate(_DRAIN_S)
        self.workers.clear()

    def database(self, name: str) -> Path:
        """The replica of a node."""
        return self.directory / name / "chronos.sqlite3"

    def profile(self, name: str) -> Path:
        """Where a profiled worker leaves what was seen of it, once it has stopped."""
        return self.directory / f"{name}.profile"

    @property
    def databases(self) -> list[Path]:
        """All replicas."""
        return [self.database(name) for name in self.names]

    def settle(self, until: int, timeout_s: float) -> int:
        """Wait until every replica shows that all due before `until` is done; returns when that was seen."""
        for database in self.databases:
            wait_for(lambda at=database: is_settled(at, until), f"{database} to settle", timeout_s, every_s=0.1)  # type: ignore[misc]
        return now_ms()

    # -- the API ------------------------------------------------------------------------------------------

    def start_api(self) -> None:
        """Start the API and wait until it answers."""
        self.api = Process(self.command("chronos_api", "api"), self.directory / "api.log")
        wait_for(lambda: accepts(self.api_port), "the API to listen", process=self.api)

    def stop_api(self) -> None:
        """End the API."""
        if self.api is not None:
            self.api.terminate(_API_END_S)
            self.api = None

    def client(self, timeout_s: float = 60.0) -> Client:
        """A connection to the API, whose answers may take so long."""
        return Client(self.api_port, timeout_s)

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self.workers.values():
            process.close()
        if self.api is not None:
            self.api.close()


class Usage:
    """Processor time by kind of process, from construction on. Processes may be added meanwhile, and must not end."""

    def __init__(self, cluster: Cluster, **others: Callable[[], list[int]]) -> None:
        workers = cluster.workers.values()
        self._kinds: dict[str, Callable[[], list[int]]] = {
            "worker": lambda: [process.pid for process in workers],
            "sender": lambda: [pid for process in workers for pid in process.family()[1:]],
            **others,
        }
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {kind: sum(map(cpu_s, pids())) for kind, pids in self._kinds.items()}

    def each_us(self, count: int) -> dict[str, float]:
        """Processor microseconds for each of so many things: `worker_cpu_us` and so on."""
        now = self._read()
        return {f"{kind}_cpu_us": (now[kind] - self._before[kind]) * 1e6 / max(1, count) for kind in now}


@contextmanager
def cluster(
    directory: Path, nodes: int, api_config: Mapping[str, Any] | None = None, *, profiled: bool = False
) -> Iterator[Cluster]:
    """A running cluster with its API in a new directory, ended at the end."""
    made = Cluster(directory, nodes, api_config, profiled=profiled)
    try:
        made.start()
        made.start_api()
        yield made
    finally:
        made.close()
