"""From the configuration to what the parts of a worker take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chronos_common.config import Config, control_url, read_secret, split_address
from chronos_common.config.keys import Dispatcher
from chronos_worker.data_dir import DataDir
from chronos_worker.dispatch import AddressSettings, BreakerSettings, DispatchSettings
from chronos_worker.node import NodeSettings
from chronos_worker.raft import ClusterSecret, LogConfig, MutualTls, Timing


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Everything a worker is made from."""

    node: NodeSettings
    raft: LogConfig
    dispatch: DispatchSettings
    control_host: str
    control_port: int
    secret: str
    verify_interval_s: float


def settings_from(config: Config, data: DataDir, secret_file: str) -> WorkerSettings:
    """The settings of one worker; a single node without a cluster secret makes one for its control port."""
    cluster = config.cluster
    own = not (cluster.secret or cluster.secret_file)
    secret = data.own_secret(secret_file) if own else read_secret(config)
    host, port = split_address(cluster.control.address)
    return WorkerSettings(
        node=NodeSettings(
            node_id=cluster.node_id,
            control_url=control_url(config),
            seats=config.dispatcher.seats,
            idle_s=config.scheduler.tick_interval / 1_000,
            node_grace_s=cluster.node_grace / 1_000,
            drain_grace_s=cluster.drain_grace / 1_000,
        ),
        raft=_raft(config, data.path, secret),
        dispatch=_dispatch(config.dispatcher, _own_endpoints(config)),
        control_host=host,
        control_port=port,
        secret=secret,
        verify_interval_s=cluster.verify_interval / 1_000,
    )


def _raft(config: Config, data_dir: Path, secret: str) -> LogConfig:
    raft = config.cluster.raft
    peers = {peer.id: peer.address for peer in raft.peers}
    election_s = raft.election_timeout / 1_000
    security: ClusterSecret | MutualTls | None = None
    if peers:
        security = ClusterSecret(secret.encode())
        if raft.tls.ca:
            security = MutualTls(Path(raft.tls.ca), Path(raft.tls.cert), Path(raft.tls.key))
    return LogConfig(
        node_id=config.cluster.node_id,
        data_dir=data_dir / "raft",
        listen=raft.address if peers else "",
        advertised=raft.advertise or raft.address,
        peers=peers,
        security=security,
        timing=Timing(
            heartbeat_s=election_s / 8,
            quorum_loss_s=election_s * 0.8,
            election_min_s=election_s,
            election_max_s=election_s * 2,
        ),
    )


def _own_endpoints(config: Config) -> tuple[tuple[str, int], ...]:
    """Raft and control listeners, which no webhook may reach."""
    cluster = config.cluster
    named = [cluster.control.address, cluster.control.advertise]
    if cluster.raft.peers:
        named += [
            cluster.raft.address,
            cluster.raft.advertise,
            *(peer.address for peer in cluster.raft.peers),
        ]
    return tuple(split_address(address) for address in named if address)


def _dispatch(settings: Dispatcher, own_endpoints: tuple[tuple[str, int], ...]) -> DispatchSettings:
    http = settings.http
    return DispatchSettings(
        processes=settings.processes,
        seats=settings.seats,
        max_connections_per_host=http.max_connections_per_host,
        max_idle_connections=http.max_idle_conns,
        connect_timeout_ms=http.timeout,
        max_redirects=http.max_redirects,
        response_body_bytes=http.max_response_body,
        ca_file=http.ca_file,
        breaker=BreakerSettings(failures=settings.breaker.failures, cool_down_ms=settings.breaker.cool_down),
        addresses=AddressSettings(http.allow_addresses, http.deny_addresses, own_endpoints),
    )
