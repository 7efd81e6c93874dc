"""What an operator may set about dispatch. Every bound of the room is here, with its unit."""

from __future__ import annotations

from typing import Final

import msgspec

MAX_PROCESSES: Final = 64


class BreakerSettings(msgspec.Struct, frozen=True):
    """When a target host is left alone for a while; see `breaker`."""

    failures: int = 10
    """Transport failures, timeouts and 5xx in a row that open a closed breaker. 0 switches breakers off."""
    streak_ms: int = 60_000
    """A failure later than this after the one before it begins a new row."""
    cool_down_ms: int = 15_000
    """How long an open breaker refuses before it lets one delivery through."""
    max_hosts: int = 4_096
    """Hosts remembered; the one whose last failure is longest ago is forgotten first."""


class AddressSettings(msgspec.Struct, frozen=True):
    """Where webhooks may go; see `addresses`. CIDR texts such as `10.0.0.0/8`, or single addresses."""

    allow: tuple[str, ...] = ()
    """Overrides the built-in refusals, never `deny` and never the cluster's own endpoints."""
    deny: tuple[str, ...] = ()
    own_endpoints: tuple[tuple[str, int], ...] = ()
    """(host or address, port) of every Raft and control listener of the cluster, as advertised."""


class DispatchSettings(msgspec.Struct, frozen=True):
    """All of dispatch. The defaults are a working node."""

    processes: int = 1
    """Child processes that send. One moves about ten thousand webhooks/s; more help TLS-heavy loads."""
    seats: int = 10_000
    """Deliveries this node holds at once, running or waiting for a connection."""
    max_connections_per_host: int = 2_048
    """Bound of simultaneous deliveries to one host:port over all processes."""
    max_idle_connections: int = 1_000
    """Keep-alive connections kept open for reuse, over all processes (`dispatcher.http.max_idle_conns`)."""
    connect_timeout_ms: int = 10_000
    """Bound of name lookup, TCP and TLS together; never more than the attempt's own timeout."""
    max_redirects: int = 5
    response_body_bytes: int = 4_096
    """How much of an answer's body is kept."""
    response_read_bytes: int = 262_144
    """How much of a body is read before the connection is dropped instead of reused."""
    max_retry_after_ms: int = 3_600_000
    """A longer Retry-After is cut to this."""
    ca_file: str = ""
    """PEM bundle of trusted authorities; empty: the system's, see `trust`."""
    breaker: BreakerSettings = BreakerSettings()
    addresses: AddressSettings = AddressSettings()


def problems(settings: DispatchSettings) -> list[str]:
    """Sentences that name each setting out of range, its value and what would be accepted."""
    bounds: dict[str, tuple[int, int]] = {
        "processes": (1, MAX_PROCESSES),
        "seats": (1, 1_000_000),
        "max_connections_per_host": (1, 1_000_000),
        "max_idle_connections": (1, 1_000_000),
        "connect_timeout_ms": (1, 600_000),
        "max_redirects": (0, 50),
        "response_body_bytes": (0, 65_536),
        "response_read_bytes": (0, 1 << 30),
        "max_retry_after_ms": (0, 7 * 86_400_000),
    }
    found = []
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            found.append(f"{name} is {value}; accepted are {low} to {high}")
    return found
