"""How far the wall clocks of the other nodes are from the leader's.

The leader's clock says what is due. Another node's difference from it is by how much everything due would come
early or late if that node led.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from chronos_common.clock import Clock
from chronos_common.models import NodeInfo, NodeState
from chronos_common.protocol import SECRET_HEADER, decode

BOUND_MS: Final = 500
"""A clock further off than this, beyond doubt, is a problem."""
PERIOD_S: Final = 5.0
_TRIES: Final = 3
_TIMEOUT_S: Final = 2.0
_ANSWER_BYTES: Final = 64
_AT_WORK: Final = frozenset({NodeState.LIVE, NodeState.DRAINING})

Ask = Callable[[str], int]
"""From a control URL to the wall clock there, ms since the epoch. Raises OSError if nobody says."""

log = structlog.get_logger("chronos.worker")


class SkewReading(NamedTuple):
    """A clock is `offset_ms` ahead of ours, give or take `error_ms`: half the time the question took."""

    offset_ms: int
    error_ms: int

    @property
    def is_too_far(self) -> bool:
        """Whether it is off by more than the bound, whatever the network did."""
        return abs(self.offset_ms) - self.error_ms > BOUND_MS


class Observer(Protocol):
    """Who is told of clocks that are too far off."""

    def clock_skewed(self, node_id: str, reading: SkewReading) -> None:
        """The clock of this node is beyond the bound, and was not at the last look."""


def measure(ask: Callable[[], int], clock: Clock, tries: int = _TRIES) -> SkewReading:
    """Compare a clock with ours; of several tries the one with the shortest way counts (Cristian 1989).

    Raises:
        OSError: nobody answers.
    """
    readings = []
    for _ in range(tries):
        sent_s, sent_at = clock.monotonic_s(), clock.now_ms()
        theirs = ask()
        way_ms = (clock.monotonic_s() - sent_s) * 500
        readings.append(SkewReading(theirs - sent_at - round(way_ms), int(way_ms) + 1))
    return min(readings, key=lambda reading: reading.error_ms)


class SkewWatch:
    """Asks the other nodes for the time while this one leads. `look` for one thread, `readings` for any."""

    def __init__(self, node_id: str, ask: Ask, clock: Clock, observer: Observer) -> None:
        self._node_id = node_id
        self._ask = ask
        self._clock = clock
        self._observer = observer
        self._readings: dict[str, SkewReading] = {}

    def readings(self) -> dict[str, SkewReading]:
        """What the last look found, by node id; empty on a node that does not lead."""
        return self._readings

    def look(self, nodes: Iterable[NodeInfo], *, leads: bool) -> None:
        """Ask every other node that works. One that does not answer has no reading."""
        found: dict[str, SkewReading] = {}
        for node in nodes:
            if leads and node.state in _AT_WORK and node.node_id != self._node_id:
                try:
                    found[node.node_id] = measure(partial(self._ask, node.control_url), self._clock)
                except OSError:
                    continue  # that it is silent is noticed, and told, elsewhere
        before, self._readings = self._readings, found
        for node_id, reading in found.items():
            if reading.is_too_far and not (node_id in before and before[node_id].is_too_far):
                self._observer.clock_skewed(node_id, reading)


class SkewThread:
    """Lets a `SkewWatch` look at regular times, on a thread of its own."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skew", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Look no more. A look under way is not waited for: it holds nothing that is closed after it."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(PERIOD_S):
            try:
                self._look()
            except Exception:  # a defect here must not end the only eye on the clocks
                log.exception("skew_watch_failed")


def ask_over_http(secret: str) -> Ask:
    """Asks the control ports of other nodes."""

    def ask(url: str) -> int:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/v1/clock", headers={SECRET_HEADER: secret})
            answer = connection.getresponse()
            body = answer.read(_ANSWER_BYTES)
        except http.client.HTTPException as error:
            raise OSError(f"{url} does not speak HTTP: {error}") from error
        finally:
            connection.close()
        try:
            return decode(body, int)
        except msgspec.DecodeError as error:
            raise OSError(f"{url} does not say what time it is there (status {answer.status})") from error

    return ask
