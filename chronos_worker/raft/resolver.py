"""Names to addresses without keeping the node's thread waiting, and anew at every dial."""

from __future__ import annotations

import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from chronos_worker.raft.addresses import Address

Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]
"""What `socket.connect` takes, with its family."""


def look_up(address: Address) -> list[Endpoint]:
    """Ask the operating system.

    Raises:
        OSError: the name does not resolve.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


class Resolver:
    """At most one lookup per name is under way; a literal needs none."""

    def __init__(self, wake: Callable[[], None], names: Callable[[Address], list[Endpoint]] = look_up) -> None:
        self._names = names
        self._wake = wake
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="raft-names")
        self._running: dict[Address, Future[list[Endpoint]]] = {}

    def lookup(self, address: Address) -> list[Endpoint] | None:
        """Return the endpoints, None while the lookup runs; call again then.

        Raises:
            OSError: the name does not resolve.
        """
        try:
            ipaddress.ip_address(address.host)
        except ValueError:
            return self._look_up_name(address)
        return look_up(address)

    def close(self) -> None:
        """Abandon what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look_up_name(self, address: Address) -> list[Endpoint] | None:
        running = self._running.get(address)
        if running is None:
            self._running[address] = running = self._pool.submit(self._names, address)
            running.add_done_callback(lambda _: self._wake())
        if not running.done():
            return None
        del self._running[address]
        return running.result()
