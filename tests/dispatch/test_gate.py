from chronos_worker.dispatch.exchange import Exchange
from chronos_worker.dispatch.gate import FIRST_WINDOW, HostGate
from chronos_worker.dispatch.registry import prepare_encoded
from chronos_worker.dispatch.settings import DispatchSettings
from tests.dispatch.making import assignment


def exchange(number, host="a", timeout_ms=10_000, now_s=0.0):
    made = assignment(f"http://{host}:80/", number=number, timeout_ms=timeout_ms)
    return Exchange(made, prepare_encoded(bytes(made.target)), DispatchSettings(), now_s)


def take_all(gate):
    return list(iter(gate.take, None))


def filled(count, bound=1_000):
    gate = HostGate(bound)
    for number in range(count):
        gate.add(exchange(number))
    return gate


def test_a_host_begins_with_a_small_window():
    gate = filled(100)
    assert len(take_all(gate)) == FIRST_WINDOW
    assert gate.waiting == 100 - FIRST_WINDOW


def test_one_that_ended_makes_room_for_the_next_in_order():
    gate = filled(66)
    first, *_ = take_all(gate)
    gate.ended(first)
    assert [each.key[0][-1] for each in take_all(gate)] == [64]


def test_a_host_that_hangs_gets_twice_the_window_each_tick_up_to_the_bound():
    gate = filled(1_000, bound=300)
    sizes = []
    for _ in range(4):
        sizes.append(len(take_all(gate)))
        gate.tick()
    assert sizes == [64, 64, 128, 44]


def test_a_host_with_turnover_keeps_its_connections():
    gate = filled(1_000)
    for _ in range(5):
        for each in take_all(gate):
            gate.ended(each)
        running = take_all(gate)
        gate.tick()
        assert take_all(gate) == []
        assert len(running) == FIRST_WINDOW
        for each in running:
            gate.ended(each)


def test_hosts_take_turns():
    gate = HostGate(1_000)
    for number in range(20):
        gate.add(exchange(number, "busy"))
    gate.add(exchange(99, "quiet"))
    assert "quiet:80" in [gate.take().host for _ in range(2)]


def test_a_full_host_does_not_keep_another_waiting():
    gate = filled(500)
    take_all(gate)
    gate.add(exchange(999, "other"))
    assert [each.host for each in take_all(gate)] == ["other:80"]


def test_one_withdrawn_is_never_started():
    gate = filled(3)
    assert gate.withdraw((bytes(15) + b"\x01", 1)) is not None
    assert [each.key[0][-1] for each in take_all(gate)] == [0, 2]
    assert gate.withdraw((bytes(15) + b"\x01", 1)) is None


def test_one_that_waits_longer_than_its_own_timeout_is_given_up():
    gate = HostGate(1)
    gate.add(exchange(0))
    gate.add(exchange(1, timeout_ms=1_000))
    gate.add(exchange(2, timeout_ms=9_000))
    take_all(gate)
    assert [each.key[0][-1] for each in gate.overdue(2.0)] == [1]
    assert gate.waiting == 1


def test_a_host_without_work_is_forgotten():
    gate = filled(2)
    for each in take_all(gate):
        gate.ended(each)
    assert not gate._hosts
    assert not gate.has_ready
