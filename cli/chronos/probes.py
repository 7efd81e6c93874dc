"""Questions asked from outside: does it answer, is its port free."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Mapping
from typing import Final

from chronos_common.config import InvalidConfig, split_address

_PATIENCE_S: Final = 2.0
_EVERY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class PortTaken(Exception):
    """An address cannot be listened on; the message names the key, the address and the reason."""


def reachable(address: str) -> str:
    """An address as a client on this machine writes it: a listener on every address is reached on loopback."""
    host, port = split_address(address)
    host = _EVERY_ADDRESS.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def answers(address: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether an HTTP server there answers this path with 200."""
    host, port = split_address(reachable(address))
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_free(key: str, address: str) -> None:
    """See that nobody listens on the address that `key` of the configuration names.

    Raises:
        PortTaken: somebody does, or the machine has no such address.
        InvalidConfig: it leaves the port to chance, so nobody could be told where it is.
    """
    host, port = split_address(address)
    if port == 0:
        raise InvalidConfig("the configuration", [f"{key} is {address!r}; accepted is a port from 1 to 65535"])
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise PortTaken(
            f"{key} {address} cannot be listened on ({reason.lower()}): stop what uses it, "
            f"or choose another with CHRONOS_{key.replace('.', '_').upper()}"
        ) from error
