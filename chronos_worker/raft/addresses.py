"""Text addresses: `host:port`, `10.0.0.1:7000`, `[::1]:7000`."""

from __future__ import annotations

from typing import Final, NamedTuple

from chronos_worker.raft.errors import BadLogConfig

_MAX_PORT: Final = 65535


class Address(NamedTuple):
    """A host (a name or an IP literal without brackets) and a port."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """Split an address.

    Raises:
        BadLogConfig: it is not `host:port`, the host is no name, or the port is not a number up to 65535.
    """
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadLogConfig(f"address {text!r}: an IPv6 host needs brackets, like [::1]:7000")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise BadLogConfig(f"address {text!r} is not host:port, like worker-1:7000 or [::1]:7000")
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise BadLogConfig(f"address {text!r}: {host!r} is no host name: {error}") from error
    return Address(host, int(port))
