"""A node that was out of touch begins nothing before it knows what happened meanwhile."""

import math
from types import SimpleNamespace

import pytest

from chronos_common.commands import Claim
from chronos_worker.absence import PATIENCE_S, Absence
from chronos_worker.node import NodeSettings
from chronos_worker.state_machine.effects import Aborted, Assigned

BOUND_S = 5.0
CLAIM = Claim("n2", 7)


def assigned(seq, number=1):
    return Assigned(seq, bytes(16), number, 1, 1, 0, None, 0)


def status(silent_s=0.0, role="follower", leader_id="n1"):
    return SimpleNamespace(role=role, leader_id=leader_id, peers_contact={"n1": silent_s})


@pytest.fixture
def absence():
    return Absence(BOUND_S, now_s=100.0)


def asleep(absence, until_s=106.0):
    assert absence.noticed(until_s, CLAIM) == 6.0
    absence.heard(status(), until_s)  # an old word, read only now
    (barrier,) = absence.ask(until_s)
    return barrier.token


def test_in_touch_everything_begins_at_once(absence):
    for now_s in (102.0, 106.0, 110.0):
        assert absence.noticed(now_s, CLAIM) is None
        assert absence.admit([assigned(1)], []) == [assigned(1)]
        absence.heard(status(silent_s=0.5), now_s)
        assert absence.ask(now_s) == []


def test_what_comes_after_a_silence_waits_for_the_barrier(absence):
    token = asleep(absence)
    assert absence.admit([assigned(1)], []) == []
    assert absence.noticed(106.1, CLAIM) is None
    assert absence.admit([assigned(2)], []) == []
    absence.reached("somebody else's", 106.1)
    assert absence.admit([], []) == []
    absence.reached(token, 106.1)
    assert absence.admit([assigned(3)], []) == [assigned(1), assigned(2), assigned(3)]
    assert absence.admit([], []) == []


def test_what_is_aborted_before_the_barrier_never_begins(absence):
    token = asleep(absence)
    absence.admit([assigned(1), assigned(2), assigned(2, number=2)], [])
    absence.admit([], [Aborted(1, 1)])
    absence.reached(token, 106.1)
    assert absence.admit([assigned(4)], [Aborted(2, 1), Aborted(4, 1)]) == [assigned(2, number=2)]


def test_another_barrier_is_proposed_as_long_as_none_has_come_back(absence):
    first = asleep(absence, until_s=106.0)
    assert absence.ask(106.0 + PATIENCE_S / 2) == []
    (second,) = absence.ask(106.0 + PATIENCE_S)
    assert second.token != first
    absence.reached(first, 107.5)
    assert absence.ask(106.0 + 2 * PATIENCE_S) == []
    assert absence.admit([assigned(1)], []) == [assigned(1)]


def test_a_barrier_behind_which_the_absence_may_have_gone_on_proves_nothing(absence):
    first = asleep(absence, until_s=106.0)
    absence.admit([assigned(1)], [])
    (second,) = absence.ask(106.0 + BOUND_S)
    absence.reached(first, 106.1 + BOUND_S)
    assert absence.admit([], []) == []
    absence.reached(second.token, 106.2 + BOUND_S)
    assert absence.admit([], []) == [assigned(1)]


def test_each_absence_and_each_life_has_a_barrier_of_its_own(absence):
    first = asleep(absence, until_s=106.0)
    absence.reached(first, 106.1)
    second = asleep(absence, until_s=112.0)
    absence.reached(first, 106.1)
    assert absence.admit([assigned(1)], []) == []
    next_life = Absence(BOUND_S, now_s=100.0)
    next_life.noticed(106.0, Claim("n2", 8))
    (barrier,) = next_life.ask(106.0)
    assert len({first, second, barrier.token}) == 3


def test_without_a_leader_silence_goes_on_and_a_leader_is_in_touch(absence):
    absence.heard(status(silent_s=math.inf, leader_id=None), 104.0)
    absence.noticed(105.5, CLAIM)
    assert absence.ask(105.5)
    leading = Absence(BOUND_S, now_s=100.0)
    leading.heard(status(role="leader", leader_id="n2"), 104.0)
    leading.noticed(105.5, CLAIM)
    assert leading.ask(105.5) == []


def test_what_was_kept_back_is_forgotten_with_the_rows_or_the_life_it_belonged_to(absence):
    token = asleep(absence)
    absence.admit([assigned(1)], [])
    absence.forget()
    absence.reached(token, 106.1)
    assert absence.admit([], []) == []


def test_an_absence_is_half_of_the_grace_and_longer_than_a_node_sleeps_by_itself():
    assert NodeSettings("n1", "http://n1", 1).absence_s == 5.0
    shortest = NodeSettings("n1", "http://n1", 1, node_grace_s=1.0)
    assert shortest.absence_s > shortest.idle_s


def test_who_has_no_life_is_given_nothing_and_need_not_ask(absence):
    assert absence.noticed(200.0, None) is None
    assert absence.ask(200.0) == []
