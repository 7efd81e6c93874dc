"""The seam between the log and its peers: messages in, messages out, waiting in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chronos_worker.raft.membership import Agreed
    from chronos_worker.raft.messages import Message


class Receiver(Protocol):
    """Who is told what arrives. Called inside `Network.poll` only."""

    def on_message(self, peer: str, message: Message) -> None:
        """Take one authenticated message of a member."""

    def on_connected(self, peer: str) -> None:
        """A link to a member is up."""

    def on_disconnected(self, peer: str) -> None:
        """The link to a member is gone, and with it what was on its way."""


class Network(Protocol):
    """Authenticated, ordered links to the other members."""

    def attach(self, receiver: Receiver) -> None:
        """Name the receiver, once, before the first `poll`."""

    def configure(self, agreed: Agreed, staying: frozenset[str]) -> None:
        """From now on, keep links to the members of this list and to those `staying`, and find no others.

        Called once before the first `poll`, and whenever the list in force changes.
        """

    def poll(self, timeout_s: float) -> None:
        """Wait for traffic or `wake`, at most `timeout_s` seconds, and deliver what came."""

    def send(self, peer: str, message: Message) -> bool:
        """Queue a message; False when there is no link. Delivery is not promised."""

    def flush(self) -> None:
        """Push queued bytes towards the peers without waiting."""

    def is_connected(self, peer: str) -> bool:
        """Tell whether a link is up."""

    def last_heard(self) -> dict[str, float]:
        """Return per peer the clock's reading at its last authenticated message."""

    def rejected(self) -> dict[str, int]:
        """Return how much input was refused, by reason."""

    def problems(self) -> dict[str, str]:
        """Return, per peer or address, why it is refused at present."""

    def wake(self) -> None:
        """End a waiting `poll` early, from any thread."""

    def close(self) -> None:
        """Close all links."""
