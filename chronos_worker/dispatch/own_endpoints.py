"""Keeps the address policy aware of where the cluster's own endpoints live.

Endpoints given by name (containers, service names) change address when they restart. A small thread
looks them up now and then, off the sending loop, because a lookup may take seconds.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from chronos_worker.dispatch.addresses import AddressPolicy
from chronos_worker.dispatch.settings import AddressSettings

REFRESH_S: Final = 30.0

Lookup = Callable[[str], set[str]]


def system_lookup(host: str) -> set[str]:
    """The addresses of a name by the system's resolver; none if it is unknown for now."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


class OwnEndpoints:
    """An `AddressPolicy` whose named endpoints are looked up again every `REFRESH_S` seconds."""

    def __init__(self, settings: AddressSettings, lookup: Lookup = system_lookup) -> None:
        self._settings = settings
        self._lookup = lookup
        self._named = {host for host, _ in settings.own_endpoints if not _is_address(host)}
        self._known: dict[str, set[str]] = {}
        self._policy = AddressPolicy(settings)

    def refusal(self, ip: str, port: int) -> str | None:
        """Why connecting is refused, by what is known now."""
        return self._policy.refusal(ip, port)

    def start(self) -> None:
        """Keep looking up in the background, if any endpoint is given by name."""
        if self._named:
            threading.Thread(target=self._keep_up, name="own-endpoints", daemon=True).start()

    def refresh(self) -> None:
        """Look every name up once. One that does not answer keeps the addresses it had."""
        found = {host: self._lookup(host) or self._known.get(host, set()) for host in self._named}
        if found != self._known:
            self._known = found
            self._policy = AddressPolicy(self._settings, self._resolved())

    def _resolved(self) -> list[tuple[str, int]]:
        return [
            (address, port) for host, port in self._settings.own_endpoints for address in self._known.get(host, ())
        ]

    def _keep_up(self) -> None:
        never = threading.Event()
        while True:
            self.refresh()
            never.wait(REFRESH_S)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
