"""Mutual TLS 1.3 under the cluster's own CA; the certificate names the node."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from chronos_worker.raft.errors import BadLogConfig

if TYPE_CHECKING:
    from chronos_worker.raft.config import MutualTls

NODE_URI: Final = "chronos://node/"
"""SAN URI prefix; the percent-encoded node id follows."""


def node_uri(node_id: str) -> str:
    """Return the SAN URI that names a node."""
    return NODE_URI + quote(node_id, safe="")


class TlsContexts:
    """One context for each side of a connection.

    Raises:
        BadLogConfig: a file is missing, unreadable, or does not fit the others.
    """

    def __init__(self, files: MutualTls) -> None:
        try:
            self.client = _context(ssl.PROTOCOL_TLS_CLIENT, files)
            self.server = _context(ssl.PROTOCOL_TLS_SERVER, files)
        except OSError as error:  # ssl.SSLError is one
            raise BadLogConfig(f"TLS files {files.ca}, {files.cert}, {files.key}: {error}") from error
        self.server.num_tickets = 0


def _context(protocol: int, files: MutualTls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # the name to check is the node id, see `named_nodes`
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(files.ca)
    context.load_cert_chain(files.cert, files.key)
    return context


def named_nodes(connection: ssl.SSLSocket) -> frozenset[str]:
    """Return the node ids the verified certificate of the peer speaks for."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    names: set[str] = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            names.add(value)
        elif kind == "URI" and value.startswith(NODE_URI):
            names.add(unquote(value.removeprefix(NODE_URI)))
    return frozenset(names)
