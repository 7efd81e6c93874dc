"""Who is declared lost, and who only seems so."""

from chronos_common.models import NodeInfo, NodeState
from chronos_worker.planner.presence import Presence

NODES = [NodeInfo(name, 3, NodeState.LIVE, "http://c", 1) for name in ("me", "b", "c")]


def lost(presence, now_s):
    return [command.claim.node_id for command in presence.lost(NODES, "me", 0, now_s)]


def watch(presence, silences, until_s, start_s=0.0):
    now_s = start_s
    while now_s <= until_s:
        presence.watch(silences(now_s), now_s)
        now_s += 0.5
    return now_s - 0.5


def test_a_node_that_stays_silent_is_lost_after_its_grace():
    presence = Presence(10.0, 2.5)
    now_s = watch(presence, lambda now: {"b": now, "c": 0.0}, 9.0)
    assert lost(presence, now_s) == []
    now_s = watch(presence, lambda now: {"b": now, "c": 0.0}, 11.0, now_s)
    assert lost(presence, now_s) == ["b"]


def test_a_node_never_heard_of_is_lost_too():
    presence = Presence(10.0, 2.5)
    now_s = watch(presence, lambda _now: {"b": float("inf"), "c": 0.0}, 6.0)
    assert lost(presence, now_s) == ["b"]


def test_a_node_heard_again_is_not_lost():
    presence = Presence(10.0, 2.5)
    watch(presence, lambda now: {"b": now, "c": 0.0}, 9.0)
    presence.watch({"b": 0.1, "c": 0.0}, 9.5)
    assert lost(presence, 11.0) == []


def test_our_own_absence_is_not_blamed_on_others():
    presence = Presence(10.0, 2.5)
    watch(presence, lambda _now: {"b": 0.0, "c": 0.0}, 2.0)
    presence.watch({"b": 60.0, "c": 60.0}, 62.0)  # we were stopped for a minute
    assert lost(presence, 62.0) == []


def test_who_does_not_lead_forgets_what_it_watched():
    presence = Presence(10.0, 2.5)
    now_s = watch(presence, lambda now: {"b": now, "c": now}, 20.0)
    presence.forget()
    assert lost(presence, now_s) == []
