"""What members say to one another, as typed msgpack. Only authenticated bytes get here.

Every field is bounded when decoded; entries travel as our own bytes, verbatim. Names follow the Raft paper
where it has one.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from chronos_worker.raft.interface import MAX_ENTRY_BYTES

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Command = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_ENTRY_BYTES + 1)]
Proposal = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_ENTRY_BYTES)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Members = Annotated[bytes, msgspec.Meta(max_length=16 << 10)]
Chunk = Annotated[bytes, msgspec.Meta(max_length=4 << 20)]


class MalformedMessage(ValueError):
    """Authenticated bytes that are no message: a defect or another version on the other side."""


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Entries after (prev_index, prev_term), or none: a heartbeat. Each is (term, command)."""

    term: Count
    commit_index: Count
    prev_index: Count
    prev_term: Count
    entries: list[tuple[Count, Command]]


class Appended(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Everything up to `index` equals the log of the leader of `term`, and is synced.

    `joined`: the memory of the sender is whole.
    """

    term: Count
    index: Count
    joined: bool


class Refused(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """`prev_index` is unknown or conflicts here; send from `next_index`."""

    term: Count
    prev_index: Count
    next_index: Count


class RequestVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Raft §5.2. `transfer`: the leader itself asked for this election (thesis §3.10).

    `round` is that of a pre-vote in which everybody supported the sender, else 0.
    """

    term: Count
    last_index: Count
    last_term: Count
    transfer: bool
    round: Count


class VoteGranted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """The vote of the sender in `term`."""

    term: Count


class PreVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """Would you vote for me in `term`? Changes nothing at the receiver (thesis §9.6). `round` is a nonce."""

    term: Count
    last_index: Count
    last_term: Count
    round: Count


class PreVoteAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """Answer to the question of `round`; `term` is the sender's own, `joined` whether its memory is whole.

    `founders`: the digest of its list of members if that is still the cluster's first, else empty.
    """

    round: Count
    term: Count
    granted: bool
    joined: bool
    founders: Annotated[str, msgspec.Meta(max_length=64)]


class StaleTerm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """You lead in an old term; mine is `term`."""

    term: Count


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=9):
    """Start an election at once: the leader of `term` hands over (thesis §3.10)."""

    term: Count


class Forward(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """Entries a follower proposes."""

    entries: list[Proposal]


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=11):
    """You are behind my log; this snapshot covers everything up to `index`. `members`: the list in force there."""

    term: Count
    index: Count
    index_term: Count
    size: Count
    sha256: Digest
    members: Members


class SnapshotWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=12):
    """Send the snapshot `sha256` from `offset` on; `is_start` answers an offer, else it acknowledges."""

    term: Count
    sha256: Digest
    offset: Count
    is_start: bool


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=13):
    """Bytes of the snapshot `sha256` at `offset`."""

    term: Count
    sha256: Digest
    offset: Count
    data: Chunk


Message = (
    AppendEntries
    | Appended
    | Refused
    | RequestVote
    | VoteGranted
    | PreVote
    | PreVoteAnswer
    | StaleTerm
    | TimeoutNow
    | Forward
    | SnapshotOffer
    | SnapshotWanted
    | SnapshotChunk
)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    return _ENCODER.encode(message)


def decode(data: bytes) -> Message:
    """Return the message.

    Raises:
        MalformedMessage: the bytes are not exactly one message within its bounds.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedMessage(str(error)) from error
