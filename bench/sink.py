"""The target of the load: nginx where it is installed, else our own receiver. Every request is a line in its log."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench.ledger import Span
from bench.processes import Process, accepts, free_port, wait_for

Kind = Literal["nginx", "own"]

_NGINX: Final = """\
{user}worker_processes 1;
worker_rlimit_nofile 40000;
daemon off;
pid nginx.pid;
error_log nginx-error.log;
events {{ worker_connections 20000; }}
http {{
  log_format arrival '$msec $request_time $http_x_chronos_scheduled_time '
                     '$http_x_chronos_attempt $http_x_chronos_execution_id';
  access_log arrivals.log arrival buffer=256k flush=1s;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{port} backlog=4096 reuseport; location / {{ return 200 "ok"; }} }}
}}
"""


class Arrival(NamedTuple):
    """A request as the sink got it. `at_ms`: its first byte, to the millisecond."""

    at_ms: float
    fire_time: int
    attempt: int
    execution_id: bytes


class Sink:
    """A running receiver; `stop` before its arrivals are read, for they are written in batches."""

    def __init__(self, directory: Path, kind: Kind) -> None:
        self.kind = kind
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._log = directory / "arrivals.log"
        directory.mkdir(parents=True)
        if kind == "nginx":
            user = "user root;\n" if os.geteuid() == 0 else ""
            config = directory / "nginx.conf"
            config.write_text(_NGINX.format(user=user, port=self.port), encoding="ascii")
            argv = [nginx_path() or "nginx", "-p", str(directory), "-c", str(config), "-e", "nginx-error.log"]
        else:
            argv = [sys.executable, "-m", "bench.own_sink", "--port", str(self.port), "--log", str(self._log)]
        self.process = Process(argv, directory / "sink.log")
        wait_for(lambda: accepts(self.port), "the sink to listen", process=self.process)

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return self.process.family()

    @property
    def has_arrivals(self) -> bool:
        """Whether anything has been written to the log yet; that is up to a second late."""
        return self._log.exists() and self._log.stat().st_size > 0

    def stop(self) -> None:
        """End it; what it had buffered is written."""
        self.process.terminate(10)

    def arrivals(self, span: Span | None = None) -> list[Arrival]:
        """Every request that names a fire time in the span, in the order of the log."""
        return list(self._read(span))

    def _read(self, span: Span | None) -> Iterator[Arrival]:
        with self._log.open(encoding="ascii") as lines:
            for line in lines:
                ended, took, fired, attempt, execution_id = line.split()
                if fired == "-":
                    continue
                fire_time = _instant(fired)
                if span is None or span.first <= fire_time < span.until:
                    at_ms = round((float(ended) - float(took)) * 1_000, 3)
                    yield Arrival(at_ms, fire_time, int(attempt), bytes.fromhex(execution_id.replace("-", "")))


def counted(arrivals: list[Arrival]) -> Counter[bytes]:
    """How often each execution arrived."""
    return Counter(arrival.execution_id for arrival in arrivals)


def lateness_ms(arrivals: list[Arrival]) -> list[float]:
    """First byte at the sink minus fire time, of first attempts."""
    return [arrival.at_ms - arrival.fire_time for arrival in arrivals if arrival.attempt == 1]


def nginx_path() -> str | None:
    """The nginx of this machine, if there is one."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def sink(directory: Path, kind: Kind | None = None) -> Iterator[Sink]:
    """A sink in a new directory, ended at the end."""
    running = Sink(directory, kind or ("nginx" if nginx_path() else "own"))
    try:
        yield running
    finally:
        running.process.close()


@lru_cache(maxsize=1_024)
def _instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
