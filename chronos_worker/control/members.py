"""Changing who belongs to the cluster, on behalf of an operator who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol

from chronos_common.protocol import AddMember, AdminReply, Done, NotLeader, Rejected, RemoveMember
from chronos_worker.node import View
from chronos_worker.raft import ChangePending, ChangeRefused, LogStatus, NoLeader, ReplicatedLog

CHANGE_S: Final = 5.0
"""Longest wait for a change to be committed, and for an heir to lead."""
_LOOK_S: Final = 0.02
_LOOKS: Final = int(CHANGE_S / _LOOK_S)


class Changing(Protocol):
    """The node, which owns the log."""

    def change_members(self, change: Callable[[ReplicatedLog], None]) -> Future[int]:
        """Change the log's members; the entry that does it."""

    @property
    def view(self) -> View:
        """The node as of its last step."""


class MemberChanges:
    """Asks the node's thread and waits until the majority has agreed. Any thread."""

    def __init__(
        self,
        node: Changing,
        leader_url: Callable[[], str | None],
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._node = node
        self._leader_url = leader_url
        self._rest = rest

    def answer(self, call: AddMember | RemoveMember) -> AdminReply:
        """Do it, or say why not."""
        try:
            index = self._begin(call)
        except NoLeader as error:
            return self._elsewhere(error)
        except ChangePending as error:
            return Rejected("unavailable", str(error))
        except ChangeRefused as error:
            return Rejected("conflict", str(error))
        except TimeoutError:
            return Rejected("outcome_unknown", "the worker is busy; look at the cluster's members")
        if self._until(lambda log: log.commit_index >= index) and self._node.view.log.members_index >= index:
            return Done(_said(call))
        return Rejected("outcome_unknown", "not confirmed by a majority in time; look at the cluster's members")

    def _begin(self, call: AddMember | RemoveMember) -> int:
        """Have the change appended, as soon as what is under way allows it; the entry."""
        for _ in range(_LOOKS):
            try:
                return self._node.change_members(lambda log: _ask(log, call)).result(CHANGE_S)
            except ChangePending:
                self._rest(_LOOK_S)
        return self._node.change_members(lambda log: _ask(log, call)).result(CHANGE_S)

    def _elsewhere(self, error: NoLeader) -> AdminReply:
        """A leader that is to go hands over first, and its heir does the rest."""
        if self._until(lambda log: log.role != "leader" and log.leader_id is not None):
            return NotLeader(self._leader_url())
        return Rejected("unavailable", str(error))

    def _until(self, holds: Callable[[LogStatus], bool]) -> bool:
        """Wait for the log to be so; whether it came to that."""
        for _ in range(_LOOKS):
            if holds(self._node.view.log):
                return True
            self._rest(_LOOK_S)
        return False


def _ask(log: ReplicatedLog, call: AddMember | RemoveMember) -> None:
    if isinstance(call, AddMember):
        log.add_member(call.node_id, call.address)
    else:
        log.remove_member(call.node_id)


def _said(call: AddMember | RemoveMember) -> str:
    if isinstance(call, AddMember):
        return f"{call.node_id} at {call.address} is a member; it votes as soon as it has caught up"
    return f"{call.node_id} is no member any more; stop it, if it still runs"
