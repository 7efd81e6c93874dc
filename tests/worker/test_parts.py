"""The small parts of a worker."""

import itertools

import msgspec
import pytest

from chronos_common import ids
from chronos_common.commands import (
    MAX_ENTRY_BYTES,
    Barrier,
    Claim,
    ClientRequest,
    DeleteJob,
    Response,
    Result,
    UnknownCommand,
    decode_entry,
    encode_command,
    encode_entry,
)
from chronos_common.models import AttemptStatus, NodeInfo, NodeState, RetryPolicy
from chronos_common.protocol import Busy, NotLeader, Outcome, Pending, Proposal, Rejected
from chronos_worker.desk import MAX_WAITING, Desk, Slip
from chronos_worker.life import PATIENCE_S, Life
from chronos_worker.node import pack_entries
from chronos_worker.outbox import GATHER_S, RESULTS_PER_COMMAND, Outbox
from chronos_worker.policies import retry_delay_ms

ME = Claim("n1", 1)


def result(seq, number=1, body=None):
    return Result(seq, number, AttemptStatus.SUCCEEDED, 1, 2, None, Response(body=body))


def test_an_entry_is_read_back_as_it_was_written():
    commands = [Barrier("a"), ClientRequest("k", b"f", "me", 1, DeleteJob("x"))]
    assert decode_entry(encode_entry(commands)) == commands


@pytest.mark.parametrize(
    "data", [b"", b"\x02", b"\x01\x91\x81\xa4type\xa7unheard", b"\x01" + msgspec.msgpack.encode([{"type": "fire"}])]
)
def test_what_this_build_cannot_read_is_never_skipped(data):
    with pytest.raises(UnknownCommand):
        decode_entry(data)


def test_commands_are_packed_into_as_few_entries_as_hold_them():
    encoded = [encode_command(Barrier("x" * 1_000)) for _ in range(600)]
    entries = pack_entries(encoded)
    assert all(len(entry) <= MAX_ENTRY_BYTES for entry in entries)
    assert len(entries) == 3
    assert sum(len(decode_entry(entry)) for entry in entries) == 600
    assert pack_entries([]) == []


def test_ids_of_occurrences_repeat_and_sort_by_fire_time():
    first, again = ids.occurrence_id(b"job", 1_000), ids.occurrence_id(b"job", 1_000)
    assert first == again != ids.occurrence_id(b"other", 1_000)
    assert ids.occurrence_id(b"job", 2_000) > first > ids.first_id_at(1_000)
    assert ids.from_text(ids.to_text(first)) == first
    for nonsense in ("nonsense", "x" * 36, f"{'z' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}", " " * 36):
        assert ids.from_text(nonsense) is None
    assert ids.from_text(ids.to_text(first).upper()) == first


def test_backoff_grows_is_capped_and_is_jittered():
    policy = RetryPolicy(initial_interval_ms=1_000, multiplier=2.0, max_interval_ms=5_000)
    assert [retry_delay_ms(policy, n, 0.999999, None) for n in (1, 2, 3, 4, 400)] == [999, 1999, 3999, 4999, 4999]
    assert retry_delay_ms(policy, 3, 0.0, None) == 0
    assert retry_delay_ms(policy, 1, 0.0, 7_000) == 7_000


def test_a_result_is_proposed_again_until_it_is_seen():
    outbox = Outbox(patience_s=2.0)
    outbox.put([result(1)])
    assert outbox.next_command(ME, 0.0).items == (result(1),)
    assert outbox.next_command(ME, 1.0) is None
    assert outbox.next_command(ME, 2.5).items == (result(1),)
    outbox.seen(1, 1)
    assert outbox.next_command(ME, 9.0) is None
    assert len(outbox) == 0


def test_results_the_log_did_not_take_wait_again():
    outbox = Outbox(patience_s=2.0)
    outbox.put([result(1), result(2)])
    outbox.unsent(outbox.next_command(ME, 0.0))
    assert len(outbox.next_command(ME, 0.1).items) == 2


def test_a_result_leaves_at_once_and_those_close_behind_it_together():
    outbox = Outbox(patience_s=2.0)
    outbox.put([result(1)])
    assert outbox.next_command(ME, 0.0).items == (result(1),)
    outbox.seen(1, 1)
    assert outbox.wait_s(0.0, 1.0) == 1.0
    outbox.put([result(2)])
    assert outbox.next_command(ME, GATHER_S / 4) is None
    assert outbox.wait_s(GATHER_S / 4, 1.0) == GATHER_S * 3 / 4
    outbox.put([result(3)])
    assert outbox.next_command(ME, GATHER_S).items == (result(2), result(3))
    outbox.put([result(4)])
    assert outbox.next_command(ME, GATHER_S * 3).items == (result(4),)


def test_results_that_wait_for_the_log_keep_nobody_awake():
    outbox = Outbox(patience_s=2.0)
    outbox.put([result(1)])
    assert outbox.wait_s(5.0, 1.0) == 1.0


def test_commands_of_results_are_bounded_in_number_and_size():
    outbox = Outbox(patience_s=2.0)
    outbox.put(result(seq) for seq in range(RESULTS_PER_COMMAND + 1))
    assert len(outbox.next_command(ME, 0.0).items) == RESULTS_PER_COMMAND
    large = Outbox(patience_s=2.0)
    large.put(result(seq, body="\x00" * 4_096) for seq in range(200))
    sizes = []
    while (command := large.next_command(ME, 0.0)) is not None:
        sizes.append(len(encode_command(command)))
    assert max(sizes) < MAX_ENTRY_BYTES
    assert len(sizes) > 1


def proposal(key="k", wait_ms=50):
    return Proposal(key, b"f", "me", DeleteJob("x"), wait_ms)


class Waking:
    """Answers from the wake-up call itself, as the node's thread would."""

    def __init__(self, act):
        self.act = act
        self.desk = None

    def __call__(self):
        for slip in self.desk.take(10):
            self.act(self.desk, slip)


def desk_that(act):
    waking = Waking(act)
    waking.desk = Desk(waking)
    return waking.desk


def test_a_caller_gets_the_outcome_of_its_command():
    outcome = Outcome(7, Rejected("conflict", "no"))
    desk = desk_that(lambda desk, slip: desk.answer(slip.key, outcome))
    assert desk.propose(proposal()) == outcome
    assert desk.waiting == 0


def test_a_caller_that_waited_in_vain_is_told_that_the_outcome_is_unknown():
    desk = desk_that(lambda _desk, _slip: None)
    assert isinstance(desk.propose(proposal()), Pending)
    assert desk.waiting == 0


def test_a_caller_can_be_turned_away():
    desk = desk_that(lambda desk, slip: desk.turn_away(slip, NotLeader("http://l")))
    assert desk.propose(proposal()) == NotLeader("http://l")
    assert desk.barrier("b", 0.05) is None
    assert desk.waiting == 0


def test_the_desk_is_bounded():
    desk = Desk(lambda: None)
    for n in range(MAX_WAITING):
        desk._admit(Slip(str(n), None))
    assert isinstance(desk.propose(proposal()), Busy)


def row(incarnation, state=NodeState.LIVE):
    return NodeInfo("n1", incarnation, state, "http://c", 1)


def new_life():
    counter = itertools.count(1)
    return Life("n1", "http://c", 5, 1, lambda at_least: max(next(counter), at_least))


def test_a_life_is_announced_until_the_rows_show_it():
    life = new_life()
    assert life.begin() == Claim("n1", 1)
    assert len(life.announce(0, 0.0)) == 1
    assert life.announce(0, PATIENCE_S / 2) == []
    assert len(life.announce(0, PATIENCE_S * 2)) == 1
    life.see([row(1)])
    assert life.working
    assert life.announce(0, 99.0) == []


@pytest.mark.parametrize("ended", [row(1, NodeState.LOST), row(1, NodeState.LEFT), row(2)])
def test_a_life_ended_by_others_is_over_and_the_next_is_later(ended):
    life = new_life()
    life.begin()
    life.see([ended])
    assert life.over
    assert life.begin().incarnation > ended.incarnation


def test_a_life_drains_and_leaves_in_the_rows():
    life = new_life()
    life.begin()
    life.see([row(1)])
    (drain,) = life.release(NodeState.DRAINING, 0, 0.0)
    assert (drain.state, drain.claim) == ("draining", Claim("n1", 1))
    life.see([row(1, NodeState.DRAINING)])
    assert life.draining
    life.see([row(1, NodeState.LEFT)])
    assert life.left
