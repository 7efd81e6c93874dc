"""A long list of job changes, made in parts that each fit one log entry.

Where the list is cut follows from the request alone, and every part has a command id of its own, so the same
request repeated with the same Idempotency-Key finds the parts already made and makes only the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from chronos_common.commands import MAX_ENTRY_BYTES, CreateJob, DeleteJob, JobBatch, UpdateJob
from chronos_common.errors import ChronosError, OutcomeUnknown, TooLarge, Unavailable
from chronos_common.protocol import BatchDone, BatchItem, Outcome

Item = CreateJob | UpdateJob | DeleteJob
Change = Item | ChronosError
"""A change to propose, or why it cannot be."""
Told = BatchItem | ChronosError
"""What became of a change."""
Part = list[tuple[int, Item]]

MAX_COMMAND_BYTES: Final = MAX_ENTRY_BYTES - 16 * 1024
"""What the items of one command may take: an entry, less room for its envelope."""
_FILLED_IN_BYTES: Final = 64
"""What the leader adds to an item: its id and next fire time."""

_NOT_SENT: Final = Unavailable("an earlier part of the batch could not be delivered, so this was not sent")

_encoder = msgspec.msgpack.Encoder()


class Propose(Protocol):
    """How a command is handed over; `part` tells the commands of one request apart, `of` says what it holds."""

    def __call__(self, change: JobBatch, *, part: str, of: bytes) -> Outcome:
        """The outcome of one command."""


def size_of(item: Item) -> int:
    """The bytes an item will take in the log."""
    return len(_encoder.encode(item)) + _FILLED_IN_BYTES


def propose_each(changes: Sequence[Change], propose: Propose) -> list[Told]:
    """Propose all changes, each by itself, and tell what became of every one, in order.

    Once a part could not be delivered, none after it is tried, and those items say so.

    Raises:
        ChronosError: the first part could not be delivered, so the request as a whole failed.
    """
    told: list[Told] = [change if isinstance(change, ChronosError) else _NOT_SENT for change in changes]
    delivered = False
    for number, part in enumerate(_parts(changes, told)):
        try:
            results: Sequence[Told] = _made(part, number, propose)
        except (Unavailable, OutcomeUnknown) as error:
            if not delivered:
                raise
            for n, _ in part:
                told[n] = error
            break
        delivered = True
        for (n, _), result in zip(part, results, strict=True):
            told[n] = result
    return told


def _made(part: Part, number: int, propose: Propose) -> Sequence[Told]:
    of = hashlib.sha256(b",".join(b"%d" % n for n, _ in part)).digest()
    try:
        done = propose(JobBatch(tuple(item for _, item in part)), part=f"/{number}", of=of).answer
    except (Unavailable, OutcomeUnknown):
        raise
    except ChronosError as error:
        return [error] * len(part)
    if not isinstance(done, BatchDone):
        raise TypeError(f"the worker answered with {type(done).__name__}")
    return done.items


def _parts(changes: Sequence[Change], told: list[Told]) -> Iterator[Part]:
    """Cut into parts that fit one log entry each; an item that fits none is told so."""
    part: Part = []
    size = 0
    for n, change in enumerate(changes):
        if isinstance(change, ChronosError):
            continue
        length = size_of(change)
        if length > MAX_COMMAND_BYTES:
            told[n] = TooLarge(f"the change takes {length} bytes in the log; one may take {MAX_COMMAND_BYTES}")
            continue
        if part and size + length > MAX_COMMAND_BYTES:
            yield part
            part, size = [], 0
        part.append((n, change))
        size += length
    if part:
        yield part
