"""The members' links over TCP: one listener, one link per peer, dialled by the greater node id as a rule."""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
from typing import TYPE_CHECKING, Final

import structlog

from chronos_worker.raft.addresses import parse_address
from chronos_worker.raft.config import ClusterSecret, LogConfig, MutualTls
from chronos_worker.raft.dialling import Dialling
from chronos_worker.raft.errors import BadLogConfig
from chronos_worker.raft.greeting import Doorkeeper, Hello, Refusal, Refused
from chronos_worker.raft.link import Link, LinkBroken, Stage
from chronos_worker.raft.membership import founding
from chronos_worker.raft.messages import Message, encode
from chronos_worker.raft.refusals import Refusals
from chronos_worker.raft.resolver import Resolver, look_up
from chronos_worker.raft.sealing import NONCE_BYTES, SecretSession, Session
from chronos_worker.raft.tls import TlsContexts
from chronos_worker.raft.wakeup import Wakeup

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from random import Random

    from chronos_worker.raft.addresses import Address
    from chronos_worker.raft.membership import Agreed
    from chronos_worker.raft.network import Receiver
    from chronos_worker.raft.resolver import Endpoint

_BACKLOG: Final = 64
_HOUSEKEEPING_S: Final = 0.05
_ACCEPTS_PER_TURN: Final = 16
_LIVE_KEEPALIVES: Final = 3
"""A link silent for this many keepalives no longer bars a second one from the same node id."""

_log = structlog.get_logger("chronos.raft")


class TcpNetwork:
    """`Network` over TCP, under a cluster secret or mutual TLS.

    Raises:
        BadLogConfig: no security is configured, a TLS file does not work, the address cannot be bound.
    """

    def __init__(
        self,
        config: LogConfig,
        clock: Callable[[], float],
        random: Random,
        names: Callable[[Address], list[Endpoint]] = look_up,
    ) -> None:
        if config.security is None:
            raise BadLogConfig("a cluster of several nodes needs a cluster secret or TLS; neither is configured")
        self._security = config.security
        self._tls = TlsContexts(config.security) if isinstance(config.security, MutualTls) else None
        self._timing, self._limits, self._clock = config.timing, config.limits, clock
        instance = secrets.token_hex(16)
        self._door = Doorkeeper(config.node_id, instance, founding(config.members))
        self._receiver: Receiver | None = None
        self._refusals = Refusals(clock, config.limits.pending_connections)
        self._heard: dict[str, float] = {}
        self._links: set[Link] = set()
        self._peers: dict[str, Link] = {}
        self._housekeeping_at = 0.0
        self._wakeup = Wakeup()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._dialling = Dialling(config.node_id, config.peers, config.timing, Resolver(self.wake, names), random)
        self._listener = _listen(config.listen)
        self._selector.register(self._listener, selectors.EVENT_READ)

    # -- `Network` ----------------------------------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """See `Network.attach`."""
        self._receiver = receiver

    def configure(self, agreed: Agreed, staying: frozenset[str]) -> None:
        """See `Network.configure`."""
        members = {name: member.address for name, member in agreed.configuration.members.items()}
        self._door.configure(agreed, staying)
        self._dialling.configure(members, self._clock())
        self._refusals.configure(members)
        for peer, link in list(self._peers.items()):
            if not self._door.belongs(peer, link.members_version):
                self._drop(link, LinkBroken(None, "no member any more"))

    def poll(self, timeout_s: float) -> None:
        """See `Network.poll`."""
        more = [link for link in self._links if link.has_more]
        ready = self._selector.select(0.0 if more else timeout_s)
        now = self._clock()
        for key, _ in ready:
            if key.fileobj is self._wakeup:
                self._wakeup.clear()
            elif key.fileobj is self._listener:
                self._accept(now)
            else:
                self._advance(key.data, now)
        for link in more:
            if link.stage is not Stage.CLOSED:
                self._advance(link, now)
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + _HOUSEKEEPING_S
            self._keep_house(now)

    def send(self, peer: str, message: Message) -> bool:
        """See `Network.send`."""
        link = self._peers.get(peer)
        if link is None:
            return False
        try:
            link.send(encode(message), self._clock())
        except LinkBroken as broken:
            self._drop(link, broken)
            return False
        return True

    def flush(self) -> None:
        """See `Network.flush`."""
        for link in list(self._peers.values()):
            try:
                link.flush()
            except OSError as error:
                self._drop(link, LinkBroken(None, str(error)))
            else:
                self._watch(link)

    def is_connected(self, peer: str) -> bool:
        """See `Network.is_connected`."""
        return peer in self._peers

    def last_heard(self) -> dict[str, float]:
        """See `Network.last_heard`."""
        return {**self._heard, **{peer: link.heard_at for peer, link in self._peers.items()}}

    def rejected(self) -> dict[str, int]:
        """See `Network.rejected`."""
        return self._refusals.counts()

    def problems(self) -> dict[str, str]:
        """See `Network.problems`."""
        return self._refusals.problems()

    def wake(self) -> None:
        """See `Network.wake`."""
        self._wakeup.set()

    def close(self) -> None:
        """See `Network.close`."""
        self._receiver = None
        for link in list(self._links):
            self._drop(link, LinkBroken(None))
        self._dialling.close()
        self._listener.close()
        self._selector.close()
        self._wakeup.close()

    # -- links --------------------------------------------------------------------------------------------

    def _accept(self, now: float) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, address = self._listener.accept()
            except OSError:  # nothing more, or the caller went away meanwhile
                return
            bound = self._limits.pending_connections
            if len(self._links) - len(self._peers) >= bound:
                text = f"there are more than {bound} connections that have not greeted; this one is turned away"
                self._refusals.note("too_many_pending", address[0], text)
                connection.close()
            else:
                self._begin(connection, None, f"{address[0]}:{address[1]}", now)

    def _begin(self, connection: socket.socket, dialled: str | None, address: str, now: float) -> None:
        """Wrap a new connection and let it speak."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(
            connection,
            self._session(dialing=dialled is not None),
            self._context(dialing=dialled is not None),
            self._door.hello,
            lambda greeting, certified: self._judge(greeting, dialled, certified),
            self._limits,
            address=address,
            dialled=dialled,
            now=now,
        )
        self._links.add(link)
        self._selector.register(connection, link.interest, link)
        if dialled is None:
            self._advance(link, now)

    def _session(self, *, dialing: bool) -> Session:
        if isinstance(self._security, ClusterSecret):
            return SecretSession(self._security, secrets.token_bytes(NONCE_BYTES), dialing=dialing)
        return Session()

    def _context(self, *, dialing: bool) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        return self._tls.client if dialing else self._tls.server

    def _judge(self, greeting: Hello | Refusal, dialled: str | None, certified: frozenset[str] | None) -> str:
        """Let a member in, but never two living ones under one id."""
        peer = self._door.judge(greeting, dialled, certified)
        old = self._peers.get(peer)
        if old is not None and isinstance(greeting, Hello) and old.instance != greeting.instance:
            silent_s = self._clock() - old.heard_at
            if silent_s < _LIVE_KEEPALIVES * self._timing.keepalive_s:
                raise Refused("duplicate_node_id", f"another node with the id {peer!r} is connected already")
        return peer

    def _advance(self, link: Link, now: float) -> None:
        was_open = link.stage is Stage.OPEN
        try:
            messages = link.advance(now)
        except LinkBroken as broken:
            self._drop(link, broken)
            return
        if link.stage is Stage.OPEN and not was_open:
            self._welcome(link)
        for message in messages:
            if self._receiver is not None and link.peer is not None and link.stage is Stage.OPEN:
                self._receiver.on_message(link.peer, message)
        self._watch(link)

    def _welcome(self, link: Link) -> None:
        assert link.peer is not None  # noqa: S101 - an open link knows its peer
        old = self._peers.get(link.peer)
        if old is not None:
            self._drop(old, LinkBroken(None, "replaced by a newer link"))
        self._peers[link.peer] = link
        self._refusals.settled(link.peer, _host(link))
        _log.info("raft_peer_connected", peer=link.peer, address=link.address)
        if self._receiver is not None:
            self._receiver.on_connected(link.peer)

    def _watch(self, link: Link) -> None:
        if link.stage is not Stage.CLOSED and self._selector.get_key(link.connection).events != link.interest:
            self._selector.modify(link.connection, link.interest, link)

    def _drop(self, link: Link, broken: LinkBroken) -> None:
        if link.stage is Stage.CLOSED:
            return
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.connection)
        link.close()
        self._links.discard(link)
        if link.dialled is not None:
            self._dialling.ended(link.dialled, self._clock())
        if broken.reason is not None:
            self._refusals.note(broken.reason, link.peer or link.dialled or _host(link), str(broken))
        if link.peer is not None and self._peers.get(link.peer) is link:
            del self._peers[link.peer]
            self._heard[link.peer] = link.heard_at
            _log.info("raft_peer_disconnected", peer=link.peer, reason=str(broken))
            if self._receiver is not None:
                self._receiver.on_disconnected(link.peer)

    # -- time ---------------------------------------------------------------------------------------------

    def _keep_house(self, now: float) -> None:
        for link in list(self._links):
            if link.stage is not Stage.OPEN:
                if now - link.since > self._timing.handshake_s:
                    self._drop(link, LinkBroken("handshake_timeout"))
            elif now - link.heard_at > self._timing.link_timeout_s:
                self._drop(link, LinkBroken(None, f"silent for {now - link.heard_at:.1f} s"))
            elif now - link.said_at > self._timing.keepalive_s:
                self._say_alive(link, now)
        for peer, address, connection in self._dialling.due(now, self._peers):
            self._begin(connection, peer, address, now)

    def _say_alive(self, link: Link, now: float) -> None:
        try:
            link.send(b"", now)
            link.flush()
        except OSError as error:
            self._drop(link, LinkBroken(None, str(error)))
        except LinkBroken as broken:
            self._drop(link, broken)
        else:
            self._watch(link)


def _host(link: Link) -> str:
    return link.address.rpartition(":")[0]


def _listen(text: str) -> socket.socket:
    address = parse_address(text)
    try:
        infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = infos[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        taken = " (in use by another process)" if error.errno == errno.EADDRINUSE else ""
        raise BadLogConfig(f"the raft address {text!r} cannot be bound: {error}{taken}") from error
    return listener
