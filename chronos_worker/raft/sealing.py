"""Links under a shared cluster secret: who does not know it can neither speak, listen, replay nor reflect.

    dialer   → magic, nonce_d (32 random bytes)
    listener → magic, nonce_l
    keys       HKDF-SHA256(secret, salt = nonce_d + nonce_l), one AES-256-GCM key for each direction
    dialer   → sealed hello          the dialer proves the secret first: a scanner learns one random nonce
    listener → sealed hello

Every frame is sealed with a counter as nonce that is never sent, so a frame that is repeated, dropped,
reordered, altered or sent back does not open. Keys depend on both nonces: nothing from another connection
opens either. What opens is authentic, and only that is ever decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from chronos_worker.raft.config import ClusterSecret

MAGIC: Final = b"CHRONOS\x01"
NONCE_BYTES: Final = 32
OVERHEAD_BYTES: Final = 16
_KEY_BYTES: Final = 32
_COUNTER_BYTES: Final = 12


class BadSeal(ValueError):
    """The frame was not sealed by the peer of this connection, or is not the next one."""


class Session:
    """What both sides do with frames once they are connected."""

    preamble: bytes | None = None
    """What to send before anything else, None when the transport below has authenticated already."""

    def take_preamble(self, _frame: bytes) -> None:
        """Take the other side's preamble."""

    def seal(self, body: bytes) -> bytes:
        """Protect one frame."""
        return body

    def open(self, sealed: bytes) -> bytes:
        """Return what the peer sealed."""
        return sealed


class SecretSession(Session):
    """One end of one connection."""

    def __init__(self, secret: ClusterSecret, nonce: bytes, *, dialing: bool) -> None:
        self.preamble = MAGIC + nonce
        self._secret = secret
        self._nonce = nonce
        self._dialing = dialing
        self._sent = 0
        self._received = 0
        self._outward: AESGCM | None = None
        self._inward: AESGCM | None = None

    def take_preamble(self, frame: bytes) -> None:
        """Derive the keys.

        Raises:
            BadSeal: this is not the preamble of another Chronos node.
        """
        if len(frame) != len(MAGIC) + NONCE_BYTES or not frame.startswith(MAGIC):
            raise BadSeal("the connection does not begin like one of ours")
        theirs = frame[len(MAGIC) :]
        if theirs == self._nonce:
            raise BadSeal("our own nonce came back")
        dialer, listener = (self._nonce, theirs) if self._dialing else (theirs, self._nonce)
        material = HKDF(SHA256(), 2 * _KEY_BYTES, dialer + listener, b"chronos raft link 1").derive(
            self._secret.value
        )
        to_listener, to_dialer = AESGCM(material[:_KEY_BYTES]), AESGCM(material[_KEY_BYTES:])
        self._outward, self._inward = (to_listener, to_dialer) if self._dialing else (to_dialer, to_listener)

    def seal(self, body: bytes) -> bytes:
        """Protect one frame."""
        assert self._outward is not None  # noqa: S101 - the link greets only after the preamble
        nonce = self._sent.to_bytes(_COUNTER_BYTES, "big")
        self._sent += 1
        return self._outward.encrypt(nonce, body, None)

    def open(self, sealed: bytes) -> bytes:
        """Return what the peer sealed.

        Raises:
            BadSeal: it is not the next frame of the peer.
        """
        assert self._inward is not None  # noqa: S101 - the link reads frames only after the preamble
        nonce = self._received.to_bytes(_COUNTER_BYTES, "big")
        self._received += 1
        try:
            return self._inward.decrypt(nonce, sealed, None)
        except InvalidTag as error:
            raise BadSeal("a frame does not open under the cluster secret") from error
