"""The first words on an authenticated link: who is there, and do we belong together?"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from chronos_worker.raft.membership import Agreed
from chronos_worker.raft.messages import Count, MalformedMessage

WIRE_VERSION: Final = 1
MAX_GREETING_BYTES: Final = 2048

_Text = Annotated[str, msgspec.Meta(max_length=512)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`instance` is drawn at every start of a node: two nodes with one id differ in it.

    `members_version` and `members` (a digest) say which list of members the sender follows.
    """

    version: int
    node_id: _Text
    cluster_id: _Text
    members_version: tuple[Count, Count]
    members: _Text
    instance: _Text


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Why the sender closes the link instead of answering with its own hello."""

    reason: _Text
    text: _Text


_DECODER: Final[msgspec.msgpack.Decoder[Hello | Refusal]] = msgspec.msgpack.Decoder(Hello | Refusal)


class Refused(Exception):
    """The other side is authentic but does not belong here. `reason` is a stable word for counters."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def decode_greeting(data: bytes) -> Hello | Refusal:
    """Return the greeting.

    Raises:
        MalformedMessage: the bytes are no greeting.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedMessage(str(error)) from error


class Doorkeeper:
    """Judges greetings for one node, by the list of members in force there."""

    def __init__(self, node_id: str, instance: str, agreed: Agreed) -> None:
        self._node_id = node_id
        self._instance = instance
        self.configure(agreed, frozenset())

    def configure(self, agreed: Agreed, staying: frozenset[str]) -> None:
        """Follow this list; let those `staying` in as well, whose removal may yet come to nothing."""
        self._agreed = agreed
        self._welcome = frozenset(agreed.configuration.members) | staying

    def hello(self) -> Hello:
        """Return our own greeting."""
        list_ = self._agreed.configuration
        return Hello(
            WIRE_VERSION, self._node_id, list_.cluster_id, self._agreed.version, list_.digest, self._instance
        )

    def belongs(self, name: str, version: tuple[int, int]) -> bool:
        """Tell whether a link to this node may stand: it is a member, or may know better who is."""
        return name in self._welcome or version > self._agreed.version

    def judge(self, greeting: Hello | Refusal, dialled: str | None, certified: frozenset[str] | None) -> str:
        """Return the id of the member that greets.

        Args:
            greeting: what it said.
            dialled: whom we called, None when it called us.
            certified: the node ids its certificate names, None without TLS.

        Raises:
            Refused: it does not belong to this cluster, or is not who it should be.
        """
        if isinstance(greeting, Refusal):
            raise Refused("refused_by_peer", f"{dialled or 'a peer'} refuses us: {greeting.text}")
        ours, name = self.hello(), greeting.node_id
        if greeting.version != ours.version:
            raise Refused("other_version", f"{name!r} speaks version {greeting.version}, we {ours.version}")
        if certified is not None and name not in certified:
            raise Refused("certificate", f"{name!r} shows a certificate for {sorted(certified)}")
        if greeting.cluster_id and ours.cluster_id and greeting.cluster_id != ours.cluster_id:
            raise Refused(
                "other_cluster", f"{name!r} is of cluster {greeting.cluster_id!r}, we of {ours.cluster_id!r}"
            )
        if greeting.instance == self._instance:
            raise Refused("wrong_node", f"{name!r} calls itself: the address it has for a peer is its own")
        if name == self._node_id:
            raise Refused("same_node_id", f"another node is configured with our node id {name!r}")
        if not self.belongs(name, greeting.members_version):
            raise Refused("unknown_node", f"{name!r} is not among our members {sorted(self._welcome)}")
        if greeting.members_version == ours.members_version and greeting.members != ours.members:
            raise Refused("members_differ", f"{name!r} has another list of members than {self._node_id!r}")
        if dialled is not None and name != dialled:
            raise Refused("wrong_node", f"{name!r} answers at the address of {dialled!r}")
        return name
