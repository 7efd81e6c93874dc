"""What an operator may ask a worker to do."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Protocol, assert_never

from chronos_common.models import NodeState
from chronos_common.protocol import (
    AddMember,
    AdminCall,
    AdminReply,
    CompareReplicas,
    Done,
    NotLeader,
    PrepareBackup,
    ReadBackup,
    Rejected,
    ReleaseBackup,
    RemoveMember,
    ReplicasCompared,
    SetLogLevel,
    TakeSnapshot,
    TestWebhook,
    TransferLeadership,
    WebhookTested,
)
from chronos_worker.backups import Backups
from chronos_worker.control.members import MemberChanges
from chronos_worker.node import View
from chronos_worker.verifier import Verifier

MAX_COMPARE_S: Final = 300.0
"""Longest wait for the nodes' digests."""


class Errands(Protocol):
    """What the node's thread does for others, when it gets to it."""

    def transfer_leadership(self, to: str | None) -> None:
        """Hand leadership over."""

    def take_snapshot(self) -> None:
        """Make the state durable and cut the log behind it."""

    @property
    def view(self) -> View:
        """The node as of its last step."""


class Admin:
    """Routes administrative calls. Any thread."""

    def __init__(
        self,
        errands: Errands,
        status: Callable[[], tuple[str, str | None, frozenset[str]]],
        send_webhook: Callable[[TestWebhook], WebhookTested],
        set_level: Callable[[str], None],
        verifier: Verifier,
        members: MemberChanges,
        backups: Backups,
    ) -> None:
        self._errands = errands
        self._status = status
        self._send_webhook = send_webhook
        self._set_level = set_level
        self._verifier = verifier
        self._members = members
        self._backups = backups

    def answer(  # noqa: PLR0911 - one return for each kind of call
        self, call: AdminCall
    ) -> AdminReply:
        """Do it, or say why not."""
        match call:
            case TestWebhook():
                return self._send_webhook(call)
            case TransferLeadership(to=to):
                return self._transfer(to)
            case AddMember() | RemoveMember():
                return self._members.answer(call)
            case SetLogLevel(level=level):
                return self._log_level(level)
            case TakeSnapshot():
                self._errands.take_snapshot()
                return Done("the worker makes its state durable and cuts its log behind it")
            case CompareReplicas(wait_ms=wait_ms):
                return self._compare(wait_ms / 1_000)
            case PrepareBackup(wait_ms=wait_ms):
                return self._backups.prepare(wait_ms / 1_000)
            case ReadBackup(token=token, offset=offset):
                return self._backups.read(token, offset)
            case ReleaseBackup(token=token):
                return self._backups.release(token)
            case _:
                assert_never(call)

    def _transfer(self, to: str | None) -> AdminReply:
        role, leader_url, members = self._status()
        if role != "leader":
            return NotLeader(leader_url)
        if len(members) == 1:
            return Rejected("conflict", "a cluster of one has nobody to hand leadership to")
        if to is not None and to not in members:
            return Rejected("invalid_request", f"{to!r} is no member; members are {', '.join(sorted(members))}")
        self._errands.transfer_leadership(to)
        return Done(f"handing leadership to {to or 'the most advanced other member'}")

    def _compare(self, wait_s: float) -> AdminReply:
        nodes = frozenset(node.node_id for node in self._errands.view.nodes if node.state is NodeState.LIVE)
        comparison = self._verifier.compare(secrets.token_hex(8), nodes, min(wait_s, MAX_COMPARE_S))
        if comparison is None:
            return Rejected("unavailable", "the comparison could not be begun: the cluster has no leader right now")
        digests = dict(comparison.reports)
        missing = tuple(sorted(nodes - digests.keys()))
        return ReplicasCompared(comparison.index, comparison.agrees, digests, dict(comparison.schemas), missing)

    def _log_level(self, level: str) -> AdminReply:
        try:
            self._set_level(level)
        except ValueError as error:
            return Rejected("invalid_request", str(error))
        return Done(f"logging at {level}")
