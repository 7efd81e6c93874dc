"""How one member of the log is set up. Plain frozen data; `check` refuses what would be unsafe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chronos_worker.raft.addresses import parse_address
from chronos_worker.raft.errors import BadLogConfig
from chronos_worker.raft.interface import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

MIN_SECRET_BYTES: Final = 16
MAX_NODE_ID_BYTES: Final = 128


@dataclass(frozen=True, slots=True)
class ClusterSecret:
    """One secret shared by all members; at least MIN_SECRET_BYTES bytes."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MutualTls:
    """PEM files: the cluster's own CA, and this node's certificate and key.

    The certificate's SAN must name the node: DNS `<node_id>` or URI `chronos://node/<node_id>`.
    """

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. A leader without a quorum steps down after `quorum_loss_s`, before anyone may succeed it."""

    heartbeat_s: float = 0.2
    election_min_s: float = 1.5
    election_max_s: float = 3.0
    quorum_loss_s: float = 1.2
    tick_s: float = 0.05
    keepalive_s: float = 0.5
    link_timeout_s: float = 5.0
    redial_s: float = 0.3
    handshake_s: float = 5.0
    snapshot_idle_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds, in bytes or counts. Reaching one shows as QueueFull, a counter or a dropped link."""

    queue_entries: int = 4096
    queue_bytes: int = 32 << 20
    uncommitted_bytes: int = 64 << 20
    batch_bytes: int = 1 << 20
    window_bytes: int = 4 << 20
    frame_bytes: int = 8 << 20
    send_buffer_bytes: int = 32 << 20
    pending_connections: int = 32
    trailing_entries: int = 4096
    trailing_bytes: int = 8 << 20
    journal_bytes: int = 128 << 20
    journal_piece_bytes: int = 256 << 10
    snapshot_chunk_bytes: int = 256 << 10
    snapshot_window_bytes: int = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """One member.

    `peers` maps the other members' node ids to "host:port" (names are resolved anew at every dial,
    `[::1]:7000` is IPv6); empty means a cluster of one, which opens no port. `data_dir` belongs to the log
    alone. `listen` is where this node accepts its peers, `advertised` how they reach it. The members named here
    found the cluster; from then on its log says who belongs to it, and these addresses only help to find them.
    """

    node_id: str
    data_dir: Path
    listen: str = ""
    advertised: str = ""
    peers: dict[str, str] = field(default_factory=dict)
    security: ClusterSecret | MutualTls | None = None
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)

    @property
    def members(self) -> dict[str, str]:
        """All members, this node included: node id to address."""
        return {self.node_id: self.advertised or self.listen, **self.peers}

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            BadLogConfig: naming the field, the value and what would be accepted.
        """
        for node_id in self.members:
            check_node_id(node_id)
        if self.node_id in self.peers:
            raise BadLogConfig(f"peers names this node itself ({self.node_id!r}); list only the others")
        if isinstance(self.security, ClusterSecret) and len(self.security.value) < MIN_SECRET_BYTES:
            raise BadLogConfig(
                f"the cluster secret has {len(self.security.value)} bytes, the least is {MIN_SECRET_BYTES}"
            )
        self._check_addresses()
        self._check_numbers()

    def _check_addresses(self) -> None:
        seen: dict[str, str] = {}
        for node_id, address in self.members.items():
            if not self.peers and not address:
                continue
            parse_address(address)
            if address in seen:
                raise BadLogConfig(f"nodes {seen[address]!r} and {node_id!r} share the address {address!r}")
            seen[address] = node_id
        if self.peers:
            parse_address(self.listen)

    def _check_numbers(self) -> None:
        timing, limits = self.timing, self.limits
        if not timing.heartbeat_s * 3 < timing.quorum_loss_s < timing.election_min_s < timing.election_max_s:
            raise BadLogConfig(
                f"timing must satisfy 3 * heartbeat_s < quorum_loss_s < election_min_s < election_max_s, got {timing}"
            )
        if limits.frame_bytes < limits.batch_bytes + 2 * MAX_ENTRY_BYTES:
            raise BadLogConfig(
                f"frame_bytes {limits.frame_bytes} must exceed batch_bytes {limits.batch_bytes} by 2 entries"
            )


def check_node_id(node_id: str) -> None:
    """Raises `BadLogConfig` when it is none."""
    if not node_id or len(node_id.encode()) > MAX_NODE_ID_BYTES or not node_id.isprintable():
        raise BadLogConfig(f"node id {node_id!r} must be 1 to {MAX_NODE_ID_BYTES} printable characters")
