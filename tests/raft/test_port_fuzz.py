"""Bytes that no member would send, at the Raft port of a node at work: nothing moves, and each try is counted.

`PORT_FUZZ_TRIES` and `PORT_FUZZ_SEED` say how many and which.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from chronos_worker.raft import ClusterSecret
from chronos_worker.raft.frames import frame
from chronos_worker.raft.sealing import MAGIC, SecretSession
from tests.raft.loopback import Loopback, Stranger, frames, records
from tests.raft.test_tcp import certify

TRIES = int(os.environ.get("PORT_FUZZ_TRIES", "400"))
SEED = int(os.environ.get("PORT_FUZZ_SEED", "1"))
_AT_ONCE = 8
"""Strangers between two looks; no more than may wait at the door."""
_HASTY = 20
"""Looks without a pause before the kernel is given time."""
_GROWTH_KIB = 32 << 10
"""Most by which the process may grow, whatever the number of tries."""


class Traffic:
    """What a stranger could have recorded, and what he makes of it."""

    def __init__(self, random: Random, recorded: list[bytes], cut: Callable[[bytes], list[bytes]]) -> None:
        self._random = random
        self._recorded = [bytes(stream) for stream in recorded if len(cut(stream)) > 2]
        self._pieces = [piece for stream in self._recorded for piece in cut(stream)[:20]]
        self._kinds = [
            self._garbage,
            self._framed,
            self._wrong_secret,
            self._replayed,
            self._truncated,
            self._flipped,
            self._shuffled,
        ]
        self.made: Counter[str] = Counter()

    def next(self) -> bytes:
        """Another try."""
        make = self._random.choice(self._kinds)
        self.made[make.__name__.strip("_")] += 1
        return make()

    def _garbage(self) -> bytes:
        return self._random.randbytes(self._random.choice([0, 1, 3, 4, 5, 40, 300, 5_000]))

    def _framed(self) -> bytes:
        """Frames of the right form, of any content."""
        bodies = [self._random.randbytes(self._random.randrange(200)) for _ in range(self._random.randrange(1, 5))]
        begin = frame(MAGIC + self._random.randbytes(32)) if self._random.random() < 0.5 else b""
        return begin + b"".join(map(frame, bodies))

    def _wrong_secret(self) -> bytes:
        """As a member would begin, but for the secret."""
        session = SecretSession(ClusterSecret(self._random.randbytes(32)), self._random.randbytes(32), dialing=True)
        session.take_preamble(MAGIC + self._random.randbytes(32))
        greeting = session.seal(self._random.choice(self._pieces))
        return frame(session.preamble or b"") + frame(greeting)

    def _replayed(self) -> bytes:
        return self._stream()

    def _truncated(self) -> bytes:
        stream = self._stream()
        return stream[: self._random.randrange(len(stream))]

    def _flipped(self) -> bytes:
        stream = bytearray(self._stream())
        for _ in range(self._random.choice([1, 1, 2, 20])):
            stream[self._random.randrange(min(len(stream), 400))] ^= 1 << self._random.randrange(8)
        return bytes(stream)

    def _shuffled(self) -> bytes:
        """Frames of several sessions, in another order."""
        return b"".join(self._random.choice(self._pieces) for _ in range(self._random.randrange(1, 6)))

    def _stream(self) -> bytes:
        return self._random.choice(self._recorded)


@pytest.mark.parametrize("kind", ["secret", "tls"])
def test_nothing_a_stranger_sends_changes_a_node_and_every_try_is_counted(tmp_path, kind):
    tries = TRIES if kind == "secret" else TRIES // 10
    cluster = Loopback(tmp_path)
    try:
        recorded = record(cluster, (lambda _name: None) if kind == "secret" else certify(tmp_path / "pki"))
        random = Random(f"{kind} {SEED}")
        traffic = Traffic(random, recorded, frames if kind == "secret" else records)
        before, grown_from = [cluster.footprint(name) for name in cluster.members], peak_kib()
        for done in range(0, tries, _AT_ONCE):
            for _ in range(min(_AT_ONCE, tries - done)):
                stranger = Stranger(cluster.members["n1"], traffic.next())
                stranger.hang_up() if random.random() < 0.7 else stranger.reset()
            settled(cluster, min(done + _AT_ONCE, tries))
        assert [cluster.footprint(name) for name in cluster.members] == before
        assert peak_kib() - grown_from < _GROWTH_KIB
        assert len(cluster.status("n1").problems) <= 1 + len(cluster.members)
        cluster.commit(b"it serves on")
        print(f"{kind}: {tries} tries {dict(traffic.made)}, refused {cluster.status('n1').rejected}, "  # noqa: T201
              f"grown by {peak_kib() - grown_from} KiB")  # fmt: skip
    finally:
        cluster.close()


def record(cluster, security) -> list[bytes]:
    """Real sessions at the port of n1, old ones and such as still go on."""
    tap = cluster.tap("n1")

    def config(name, **changes):
        own = security(name)
        return cluster.config(name, **changes, **({} if own is None else {"security": own}))

    cluster.start(config("n1"))
    by_tap = cluster.members | {"n1": tap.address}
    for name in ("n2", "n3"):
        cluster.start(config(name, members=by_tap, listen=cluster.members[name]))
    for number in range(5):
        cluster.commit(b"recorded %d" % number)
    return [stream for passage in tap.passages for stream in (passage.to_listener, passage.to_caller)]


def settled(cluster, tries: int) -> None:
    """Wait until this many are refused, without letting so much time pass that anybody is missed."""

    def look():
        return sum(cluster.status("n1").rejected.values()) == tries

    for number in range(2_000):
        if look():
            return
        cluster.turn(dt=0.001, look_s=0.0 if number < _HASTY else 0.001)
    raise AssertionError(f"{tries} tries, counted {cluster.status('n1').rejected}")


def peak_kib() -> int:
    """The most memory this process ever held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
