"""From a kind of target to the function that prepares it. Another kind is another line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from chronos_common.models import HttpTarget
from chronos_worker.dispatch.request import InvalidTarget, PreparedTarget, prepare


class _Tagged(msgspec.Struct):
    type: str


_kind_of: Final = msgspec.msgpack.Decoder(_Tagged)
_http: Final = msgspec.msgpack.Decoder(HttpTarget)

PREPARERS: Final[dict[str, Callable[[bytes], PreparedTarget]]] = {
    "http": lambda encoded: prepare(_http.decode(encoded)),
}


def prepare_encoded(target: bytes) -> PreparedTarget:
    """The prepared request of an encoded target.

    Raises:
        InvalidTarget: its kind is unknown, or it cannot be sent.
    """
    kind = _kind_of.decode(target).type
    preparer = PREPARERS.get(kind)
    if preparer is None:
        raise InvalidTarget(f"target type {kind!r} is unknown; accepted are {', '.join(PREPARERS)}")
    return preparer(target)
