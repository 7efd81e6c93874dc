"""What an operator hears who changes the members."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from chronos_common.protocol import AddMember, Done, NotLeader, Rejected, RemoveMember
from chronos_worker.control.members import MemberChanges
from chronos_worker.raft import ChangePending, ChangeRefused, NoLeader


class ScriptedNode:
    """Answers a change as told; each rest of the caller shows it the next view."""

    def __init__(self, outcome, *logs):
        self.outcome = outcome
        self.logs = [SimpleNamespace(**{"role": "leader", "leader_id": "n1", **log}) for log in logs]
        self.asked = []

    def change_members(self, change):
        change(
            SimpleNamespace(add_member=lambda *a: self.asked.append(a), remove_member=lambda *a: self.asked.append(a))
        )
        future = Future()
        if isinstance(self.outcome, list):
            future.set_exception(self.outcome.pop()) if len(self.outcome) > 1 else future.set_result(self.outcome[0])
        elif isinstance(self.outcome, Exception):
            future.set_exception(self.outcome)
        elif self.outcome is not None:
            future.set_result(self.outcome)
        return future

    @property
    def view(self):
        return SimpleNamespace(log=self.logs[0])

    def rest(self, _seconds):
        if len(self.logs) > 1:
            self.logs.pop(0)


def answer(node, call=None):
    return MemberChanges(node, lambda: "http://n2", node.rest).answer(call or RemoveMember("n3"))


def test_it_is_done_when_a_majority_has_agreed():
    node = ScriptedNode(9, {"commit_index": 8, "members_index": 9}, {"commit_index": 9, "members_index": 9})
    assert isinstance(answer(node, AddMember("n4", "n4:7600")), Done)
    assert node.asked == [("n4", "n4:7600")]


def test_a_change_that_never_gets_a_majority_is_not_called_done():
    reply = answer(ScriptedNode(9, {"commit_index": 8, "members_index": 9}))
    assert reply.code == "outcome_unknown"


def test_a_change_that_another_leader_undid_is_not_called_done():
    reply = answer(ScriptedNode(9, {"commit_index": 8, "members_index": 9}, {"commit_index": 12, "members_index": 5}))
    assert reply.code == "outcome_unknown"


def test_the_caller_is_sent_to_the_heir_once_there_is_one():
    leading = {"role": "leader"}
    node = ScriptedNode(
        NoLeader("hands over"), leading, {"role": "follower", "leader_id": None}, {"role": "follower"}
    )
    assert answer(node) == NotLeader("http://n2")


def test_without_an_heir_the_caller_is_told_to_come_back():
    assert answer(ScriptedNode(NoLeader("hands over"), {})) == Rejected("unavailable", "hands over")


@pytest.mark.parametrize(
    ("error", "code"), [(ChangePending("wait"), "unavailable"), (ChangeRefused("no"), "conflict")]
)
def test_a_refusal_keeps_its_reason(error, code):
    assert answer(ScriptedNode(error, {})) == Rejected(code, str(error))


def test_a_change_waits_for_the_one_before_it():
    node = ScriptedNode([9, ChangePending("wait"), ChangePending("wait")], {"commit_index": 9, "members_index": 9})
    assert isinstance(answer(node), Done)
    assert len(node.asked) == 3
