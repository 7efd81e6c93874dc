"""Every key of the configuration, its type, default and bounds. The only list of them.

A field's annotation says how its text is read: `Duration` is milliseconds written as "30s". The comment of
each key for operators stands in `chronos.yaml.example`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from chronos_common.models import MisfirePolicy


class Bounds(msgspec.Struct, frozen=True):
    """Smallest and largest value of a number or, in milliseconds, of a duration."""

    low: float
    high: float


class DurationMs(msgspec.Struct, frozen=True):
    """Marks a number of milliseconds that is written as a duration."""

    low: int = 1
    high: int = 366 * 86_400_000


Duration = Annotated[int, DurationMs()]
Port = Annotated[int, Bounds(0, 65_535)]


class _Section(msgspec.Struct, frozen=True):
    """Base of every mapping in the file."""


class Peer(_Section, frozen=True):
    """Another member of the cluster: its node id and the Raft address it is reached at."""

    id: str
    address: str


class Tls(_Section, frozen=True):
    """PEM files for mutual TLS between workers; all three or none."""

    ca: str = ""
    cert: str = ""
    key: str = ""


class Raft(_Section, frozen=True):
    """Where the log's members listen, who they are, and how they know each other."""

    address: str = "127.0.0.1:7600"
    advertise: str = ""
    peers: tuple[Peer, ...] = ()
    election_timeout: Annotated[int, DurationMs(500, 60_000)] = 1_500
    tls: Tls = Tls()


class Control(_Section, frozen=True):
    """The private port on which the API tier reaches this worker."""

    address: str = "127.0.0.1:7610"
    advertise: str = ""


class Cluster(_Section, frozen=True):
    """This node and its cluster."""

    node_id: str = "node-1"
    data_dir: str = "./chronos-data"
    secret: str = ""
    secret_file: str = ""
    node_grace: Annotated[int, DurationMs(1_000, 3_600_000)] = 10_000
    drain_grace: Annotated[int, DurationMs(0, 3_600_000)] = 30_000
    verify_interval: Annotated[int, DurationMs(0, 366 * 86_400_000)] = 86_400_000
    raft: Raft = Raft()
    control: Control = Control()


class Http(_Section, frozen=True):
    """The public API."""

    address: str = "127.0.0.1:8080"
    read_timeout: Annotated[int, DurationMs(1_000, 600_000)] = 30_000
    write_timeout: Annotated[int, DurationMs(1_000, 600_000)] = 30_000
    processes: Annotated[int, Bounds(1, 64)] = 2
    threads: Annotated[int, Bounds(1, 256)] = 8


class Server(_Section, frozen=True):
    """What listens for users."""

    http: Http = Http()


class Api(_Section, frozen=True):
    """How the API tier finds the workers: their control URLs. Empty: this node's own."""

    workers: tuple[str, ...] = ()


class Retry(_Section, frozen=True):
    """Retry policy of jobs that do not state one."""

    max_attempts: Annotated[int, Bounds(1, 100)] = 3
    initial_interval: Duration = 1_000
    max_interval: Duration = 60_000
    multiplier: Annotated[float, Bounds(1, 100)] = 2.0


class Scheduler(_Section, frozen=True):
    """Defaults for jobs, and the leader's longest sleep."""

    tick_interval: Annotated[int, DurationMs(10, 60_000)] = 1_000
    execution_timeout: Annotated[int, DurationMs(100, 86_400_000)] = 300_000
    default_retry_policy: Retry = Retry()
    missed_run_policy: MisfirePolicy = MisfirePolicy.FIRE_ONCE


class DispatcherHttp(_Section, frozen=True):
    """How webhooks are sent."""

    timeout: Annotated[int, DurationMs(10, 600_000)] = 10_000
    max_idle_conns: Annotated[int, Bounds(1, 1_000_000)] = 1_000
    max_connections_per_host: Annotated[int, Bounds(1, 1_000_000)] = 2_048
    max_redirects: Annotated[int, Bounds(0, 50)] = 5
    max_response_body: Annotated[int, Bounds(0, 65_536)] = 4_096
    allow_addresses: tuple[str, ...] = ()
    deny_addresses: tuple[str, ...] = ()
    ca_file: str = ""


class Breaker(_Section, frozen=True):
    """When a failing target host is left alone for a while. failures 0: never."""

    failures: Annotated[int, Bounds(0, 1_000_000)] = 10
    cool_down: Duration = 15_000


class Dispatcher(_Section, frozen=True):
    """The pool that sends."""

    processes: Annotated[int, Bounds(1, 64)] = 1
    seats: Annotated[int, Bounds(1, 1_000_000)] = 10_000
    http: DispatcherHttp = DispatcherHttp()
    breaker: Breaker = Breaker()


class Prometheus(_Section, frozen=True):
    """The metrics page of the API."""

    enabled: bool = True
    path: str = "/metrics"


class Metrics(_Section, frozen=True):
    """What is measured, and for whom."""

    prometheus: Prometheus = Prometheus()


class Logging(_Section, frozen=True):
    """How much is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"


class ApiKey(_Section, frozen=True):
    """An API key: only its hash is kept; `chronos keys new` makes one."""

    name: str
    hash: str
    scope: Literal["read", "write", "admin"] = "read"


class Auth(_Section, frozen=True):
    """Who may use the API. `bootstrap`: with no key yet, make an admin key at the first start."""

    mode: Literal["keys", "none"] = "keys"
    keys: tuple[ApiKey, ...] = ()
    bootstrap: bool = False


class RateLimit(_Section, frozen=True):
    """Requests a client (its key, else its address) may make, per API process."""

    requests_per_second: Annotated[float, Bounds(0.1, 1_000_000)] = 500.0
    burst: Annotated[int, Bounds(1, 1_000_000)] = 1_000


class Config(_Section, frozen=True):
    """The whole file."""

    cluster: Cluster = Cluster()
    server: Server = Server()
    api: Api = Api()
    scheduler: Scheduler = Scheduler()
    dispatcher: Dispatcher = Dispatcher()
    metrics: Metrics = Metrics()
    logging: Logging = Logging()
    auth: Auth = Auth()
    rate_limit: RateLimit = RateLimit()
