"""Faults in the order in which they hurt. Chance alone seldom finds these sequences.

A plot is a generator that does something and yields how many seconds to wait before it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final, Protocol

from chronos_common.commands import RecordResults, decode_entry
from chronos_worker.raft.messages import Forward, decode
from tests.sim.network import SimNetwork


class Stage(Protocol):
    """What plots play on."""

    random: Random
    names: list[str]
    network: SimNetwork

    def leading(self) -> str | None:
        """The node that leads in the newest term."""

    def stop(self, name: str, *, power_cut: bool) -> None:
        """Crash a node; nothing if it is down."""

    def stop_in_the_middle(self, name: str) -> None:
        """Let a node lose power in one of its next file operations."""

    def begin(self, name: str) -> None:
        """Start a node; nothing if it runs."""

    def put_to_sleep(self, name: str, for_s: float) -> None:
        """Stop a process for a while, as SIGSTOP does."""

    def forget(self, name: str) -> None:
        """Take a node's disk, if the others can bear it."""

    def cut_logs(self) -> None:
        """Have everybody make its state durable and cut the log behind it."""


Plot = Callable[[Stage], Iterator[float]]


def one_witness(stage: Stage) -> Iterator[float]:
    """Only one follower hears the leader; it loses power, and the leader is cut off for good."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, witness, others = cast
    for other in others:
        stage.network.cut_both(leader, other)
    yield stage.random.uniform(0.05, 0.6)
    if stage.random.random() < 0.5:
        stage.stop_in_the_middle(witness)
        yield stage.random.uniform(0.0, 0.3)
    stage.stop(witness, power_cut=True)
    stage.network.cut_both(leader, witness)
    stage.begin(witness)
    yield stage.random.uniform(1.0, 4.0)
    stage.network.heal()


def lost_witness(stage: Stage) -> Iterator[float]:
    """As `one_witness`, but the witness comes back without its disk and the leader does not come back."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, witness, others = cast
    for other in others:
        stage.network.cut_both(leader, other)
    yield stage.random.uniform(0.1, 0.4)
    stage.forget(witness)
    stage.network.cut_both(leader, witness)
    stage.begin(witness)
    yield stage.random.uniform(1.0, 4.0)
    stage.network.heal()


def two_histories(stage: Stage) -> Iterator[float]:
    """A leader alone with its entries, another one elected with more of them; then they meet."""
    leader = stage.leading()
    if leader is None or len(stage.names) < 3:
        return
    for other in stage.names:
        if other != leader:
            stage.network.cut(leader, other)
    yield stage.random.uniform(0.2, 3.0)
    stage.network.heal()
    yield stage.random.uniform(0.0, 0.3)
    second = stage.leading()
    if second is not None and second != leader:
        for other in stage.names:
            if other not in (leader, second):
                stage.network.cut_both(second, other)
        yield stage.random.uniform(0.1, 1.5)
        stage.network.heal()


def left_behind(stage: Stage) -> Iterator[float]:
    """A follower misses so much that only a snapshot helps; sometimes one side dies over it."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, follower, _ = cast
    _isolate_follower(stage, cast)
    yield stage.random.uniform(0.5, 2.5)
    stage.cut_logs()
    yield 0.3
    stage.cut_logs()
    stage.network.heal()
    if stage.random.random() < 0.5:
        yield stage.random.uniform(0.0, 0.5)
        stage.stop_in_the_middle(stage.random.choice([leader, follower]))


def short_absence(stage: Stage) -> Iterator[float]:
    """A follower is given work while it hears nothing, too short to be missed, and learns of it by a snapshot."""
    cast = _cast(stage)
    if cast is None:
        return
    _isolate_follower(stage, cast)
    yield stage.random.uniform(0.3, 0.9)
    stage.cut_logs()
    yield 0.05
    stage.cut_logs()
    yield 0.05
    stage.network.heal()


def long_sleep(stage: Stage) -> Iterator[float]:
    """A follower, now and then the leader, stops at its work, and wakes when the others have long given it up."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, follower, _ = cast
    stage.put_to_sleep(leader if stage.random.random() < 0.2 else follower, stage.random.uniform(3.0, 8.0))
    yield 8.0


def forgotten_promise(stage: Stage) -> Iterator[float]:
    """While the leader sleeps, who follows its successor loses its disk; then the two are alone with one another."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, witness, others = cast
    sleep_s = stage.random.uniform(2.0, 4.0)
    stage.put_to_sleep(leader, sleep_s)
    yield sleep_s - stage.random.uniform(0.05, 0.5)
    stage.forget(witness)
    for other in others:
        stage.network.cut_both(leader, other)
        stage.network.cut_both(witness, other)
    stage.begin(witness)
    yield stage.random.uniform(0.8, 2.0)
    stage.network.heal()


def cut_and_out(stage: Stage) -> Iterator[float]:
    """The log is cut, and at once the power."""
    stage.cut_logs()
    yield stage.random.uniform(0.0, 0.2)
    names = stage.names if stage.random.random() < 0.3 else [stage.random.choice(stage.names)]
    for name in names:
        stage.stop(name, power_cut=True)


def quarrel(stage: Stage) -> Iterator[float]:
    """Leader after leader is cut off before it has got far."""
    for _ in range(stage.random.randint(2, 5)):
        leader = stage.leading()
        if leader is not None:
            stage.network.cut_both(leader, stage.random.choice([name for name in stage.names if name != leader]))
            for other in stage.names:
                if other != leader and stage.random.random() < 0.8:
                    stage.network.cut(leader, other)
        yield stage.random.uniform(0.3, 1.5)
        if stage.random.random() < 0.6:
            stage.network.heal()


def late_word(stage: Stage) -> Iterator[float]:
    """What a follower reports does not get through; it dies, and its word arrives while others do the work again."""
    cast = _cast(stage)
    if cast is None:
        return
    leader, teller, _others = cast
    reports = (teller, leader, Forward)
    stage.network.lost.add(reports)
    stage.network.latest.pop(reports, None)
    word = None
    for _ in range(50):
        yield 0.05
        word = stage.network.latest.get(reports)
        if word is not None and _reports_results(word):
            break
    stage.stop(teller, power_cut=False)
    stage.network.lost.discard(reports)
    stage.begin(teller)
    for _ in range(8):
        yield stage.random.uniform(0.05, 0.3)
        if word is not None and stage.leading() == leader:
            stage.network.repeat(teller, leader, word)


def _reports_results(word: bytes) -> bool:
    message = decode(word)
    assert isinstance(message, Forward)
    return any(isinstance(command, RecordResults) for entry in message.entries for command in decode_entry(entry))


PLOTS_OF_THE_LOG: Final[tuple[Plot, ...]] = (
    one_witness, lost_witness, two_histories, left_behind, cut_and_out, quarrel, long_sleep,
    forgotten_promise,
)  # fmt: skip
PLOTS: Final[tuple[Plot, ...]] = (*PLOTS_OF_THE_LOG, short_absence, late_word)
"""For whole nodes: the last two are about the work."""


class Plotting:
    """Plots under way."""

    def __init__(self, stage: Stage, plots: Sequence[Plot] = PLOTS) -> None:
        self._stage = stage
        self._plots = plots
        self._under_way: list[tuple[float, Iterator[float]]] = []

    def begin(self) -> None:
        """Begin one that is drawn."""
        if len(self._stage.names) > 1 and not self._under_way:
            plot = self._stage.random.choice(self._plots)
            self._under_way.append((0.0, plot(self._stage)))

    def go_on(self, now: float) -> None:
        """Go on with those whose wait is over."""
        waiting: list[tuple[float, Iterator[float]]] = []
        for at, plot in self._under_way:
            if at > now:
                waiting.append((at, plot))
            elif (wait := next(plot, None)) is not None:
                waiting.append((now + wait, plot))
        self._under_way = waiting


Cast = tuple[str, str, list[str]]
"""A leader, one follower, and the others."""


def _isolate_follower(stage: Stage, cast: Cast) -> None:
    leader, follower, others = cast
    for other in (leader, *others):
        stage.network.cut_both(follower, other)


def _cast(stage: Stage) -> Cast | None:
    """A leader, one follower, and the others; None without a leader or with too few."""
    leader = stage.leading()
    if leader is None or len(stage.names) < 3:
        return None
    followers = [name for name in stage.names if name != leader]
    stage.random.shuffle(followers)
    return leader, followers[0], followers[1:]
