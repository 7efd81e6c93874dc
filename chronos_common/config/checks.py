"""What must hold between keys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from chronos_common.config.keys import Cluster, Config

MIN_SECRET: int = 16
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_URL = re.compile(r"https?://[^/?#\s]+")


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[v6]:port"; a missing host means every address.

    Raises:
        ValueError: not of this form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the last port
        raise ValueError(f"{address!r} is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def problems_of(config: Config, *, has_keys: bool) -> Iterable[str]:
    """Every contradiction, as a sentence that names keys, values and what would be accepted."""
    yield from _addresses(config)
    yield from _members(config)
    yield from _auth(config, has_keys=has_keys)
    yield from _networks(config)
    for url in config.api.workers:
        if not _URL.fullmatch(url):
            yield f"api.workers: {url!r} is no address of a control port; accepted is one such as http://10.0.0.1:7610"
    retry = config.scheduler.default_retry_policy
    if retry.initial_interval > retry.max_interval:
        yield "scheduler.default_retry_policy.initial_interval is longer than max_interval"
    if not config.metrics.prometheus.path.startswith("/"):
        path = config.metrics.prometheus.path
        yield f"metrics.prometheus.path is {path!r}; accepted is a path such as /metrics"


def _addresses(config: Config) -> Iterable[str]:
    cluster = config.cluster
    named = {
        "cluster.raft.address": cluster.raft.address,
        "cluster.raft.advertise": cluster.raft.advertise,
        "cluster.control.address": cluster.control.address,
        "cluster.control.advertise": cluster.control.advertise,
        "server.http.address": config.server.http.address,
        **{f"cluster.raft.peers ({peer.id})": peer.address for peer in cluster.raft.peers},
    }
    for path, address in named.items():
        if not address and path.endswith("advertise"):
            continue
        try:
            split_address(address)
        except ValueError as error:
            yield f"{path}: {error}"
    listeners = [cluster.control.address, config.server.http.address]
    if cluster.raft.peers:
        listeners.append(cluster.raft.address)
    fixed = [address for address in listeners if not address.endswith(":0")]
    if len(set(fixed)) < len(fixed):
        yield "cluster.raft.address, cluster.control.address and server.http.address must all differ"


def _members(config: Config) -> Iterable[str]:
    cluster = config.cluster
    peers, tls = cluster.raft.peers, cluster.raft.tls
    if not cluster.node_id.strip() or not cluster.node_id.isprintable():
        yield f"cluster.node_id is {cluster.node_id!r}; accepted is a printable name no other node has"
    if cluster.secret and cluster.secret_file:
        yield "cluster.secret and cluster.secret_file are both given; give one"
    if cluster.secret and len(cluster.secret) < MIN_SECRET:
        yield f"cluster.secret is {len(cluster.secret)} characters long; accepted are {MIN_SECRET} or more"
    if any((tls.ca, tls.cert, tls.key)) and not all((tls.ca, tls.cert, tls.key)):
        yield "cluster.raft.tls needs ca, cert and key together"
    if not (cluster.secret or cluster.secret_file):
        if peers:
            yield "cluster.raft.peers without cluster.secret: a cluster of several nodes must have one"
        elif not is_loopback(_host(cluster.control.address)):
            yield (
                f"cluster.control.address {cluster.control.address} can be reached from other machines: "
                "set cluster.secret, or listen on 127.0.0.1"
            )
    if peers:
        yield from _peers(cluster)


def _peers(cluster: Cluster) -> Iterable[str]:
    peers = cluster.raft.peers
    if len(peers) % 2:
        yield (
            f"the cluster has {len(peers) + 1} nodes, an even number, which tolerates no more failures than "
            f"{len(peers)}: use an odd number such as 3 or 5"
        )
    ids = [cluster.node_id, *(peer.id for peer in peers)]
    if len(set(ids)) < len(ids):
        yield "cluster.raft.peers: two members share a node id (list only the other nodes, each once)"
    addresses = [cluster.raft.advertise or cluster.raft.address, *(peer.address for peer in peers)]
    if len(set(addresses)) < len(addresses):
        yield "cluster.raft.peers: two members share an address"


def _auth(config: Config, *, has_keys: bool) -> Iterable[str]:
    address = config.server.http.address
    open_to_others = not is_loopback(_host(address))
    if open_to_others and config.auth.mode == "keys" and not (has_keys or config.auth.bootstrap):
        yield (
            f"server.http.address {address} can be reached from other machines and no API key is configured: "
            "make one with `chronos keys new`, listen on 127.0.0.1, or write auth.mode: none"
        )
    names = [key.name for key in config.auth.keys]
    if len(set(names)) < len(names):
        yield "auth.keys: two keys share a name"
    for key in config.auth.keys:
        if not _HASH.fullmatch(key.hash):
            yield f"auth.keys ({key.name}): hash must be what `chronos keys new` prints as such, not the key itself"


def _networks(config: Config) -> Iterable[str]:
    http = config.dispatcher.http
    named = {"allow_addresses": http.allow_addresses, "deny_addresses": http.deny_addresses}
    for name, networks in named.items():
        for network in networks:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield (
                    f"dispatcher.http.{name}: {network!r} is no network; accepted are 10.0.0.0/8, "
                    "a single address, and their IPv6 kind"
                )


def _host(address: str) -> str:
    try:
        return split_address(address)[0]
    except ValueError:
        return "127.0.0.1"  # reported as no address already
