"""PURE: which addresses a webhook may connect to.

The check is made on the address of the socket about to be opened, so names that change their answer
(DNS rebinding) and redirects cannot get around it. Order of the rules, first match decides:

    1. the cluster's own Raft and control endpoints   refused, whatever `allow` says
    2. `deny`                                         refused
    3. `allow`                                        allowed
    4. the built-in refusals below                    refused
    5. everything else, loopback and private networks included: people run Chronos inside theirs

An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) must pass as both.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from chronos_worker.dispatch.settings import AddressSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED: Final = tuple(
    (ip_network(network), why)
    for network, why in (
        ("169.254.169.254/32", "a cloud metadata address"),
        ("fd00:ec2::254/128", "a cloud metadata address"),
        ("fd20:ce::254/128", "a cloud metadata address"),
        ("100.100.100.200/32", "a cloud metadata address"),
        ("192.0.0.192/32", "a cloud metadata address"),
        ("168.63.129.16/32", "a cloud metadata address"),
        ("169.254.0.0/16", "a link-local address"),
        ("fe80::/10", "a link-local address"),
        ("0.0.0.0/8", "an unspecified address"),
        ("::/128", "an unspecified address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("240.0.0.0/4", "a reserved or broadcast address"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_LOW_32: Final = (1 << 32) - 1


class InvalidNetwork(ValueError):
    """A text in `allow` or `deny` is no CIDR and no address."""


class AddressPolicy:
    """The rules of one node. `own_addresses` are the addresses of the endpoints given by name."""

    def __init__(self, settings: AddressSettings, own_addresses: Iterable[tuple[str, int]] = ()) -> None:
        self._allow = [_network("allow", text) for text in settings.allow]
        self._deny = [_network("deny", text) for text in settings.deny]
        self._own: set[tuple[Address, int]] = set()
        self._own_ports: set[int] = set()
        for host, port in (*settings.own_endpoints, *own_addresses):
            self._own_ports.add(port)
            if (address := _address(host)) is not None:
                self._own.add((address, port))
        self.refusal = lru_cache(maxsize=4_096)(self._refusal)
        """`refusal(ip, port)`: why connecting is refused, as the end of a sentence; None if it is not."""

    def _refusal(self, ip: str, port: int) -> str | None:
        address = _address(ip)
        if address is None:
            return f"{ip} is not an IP address"
        for form in (address, *_carried(address)):
            why = self._why(form, port)
            if why is not None:
                return f"{ip} is {why}"
        return None

    def _why(self, address: Address, port: int) -> str | None:
        local = address.is_loopback or address.is_unspecified
        if (address, port) in self._own or (local and port in self._own_ports):
            return f"this cluster's own endpoint on port {port}"
        if any(address in network for network in self._deny):
            return "denied by configuration"
        if any(address in network for network in self._allow):
            return None
        return next((why for network, why in _REFUSED if address in network), None)


def _network(setting: str, text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidNetwork(
            f"{setting}: {text!r} is not a network; accepted are texts like 10.0.0.0/8 or fd00::/8"
        ) from error


def _address(text: str) -> Address | None:
    try:
        return ip_address(text.split("%", 1)[0])
    except ValueError:
        return None


def _carried(address: Address) -> list[Address]:
    """The IPv4 addresses inside an IPv6 one (RFC 4291 §2.5.5, RFC 6052, RFC 3056)."""
    if isinstance(address, IPv4Address):
        return []
    found = [form for form in (address.ipv4_mapped, address.sixtofour) if form is not None]
    embedded = int(address) & _LOW_32
    if address in _NAT64 or (address in _COMPATIBLE and embedded > 1):
        found.append(IPv4Address(embedded))
    return list(found)
