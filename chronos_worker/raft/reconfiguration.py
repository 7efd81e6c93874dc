"""Changing the members: one entry at a time, by the leader (Raft thesis §4.1 to §4.4).

Two changes can never be under way together, and the first of a term waits until an entry of that term is committed:
else two leaders could each have a majority of a different list (the defect found in 2015 in the published rule).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from chronos_worker.raft.addresses import parse_address
from chronos_worker.raft.config import check_node_id
from chronos_worker.raft.errors import BadLogConfig, ChangePending, ChangeRefused, NoLeader
from chronos_worker.raft.membership import added, encode_command, promoted, removed

if TYPE_CHECKING:
    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.handover import Handover
    from chronos_worker.raft.membership import Configuration
    from chronos_worker.raft.network import Network
    from chronos_worker.raft.replication import Replicator
    from chronos_worker.raft.storage import Storage

_CAUGHT_UP_ENTRIES: Final = 64
"""A newcomer that lacks no more than these votes: what is on its way to a follower in good health."""

_log = structlog.get_logger("chronos.raft")


class Reconfiguration:
    """Appends lists of members while this node leads."""

    def __init__(
        self,
        node_id: str,
        engine: Engine,
        storage: Storage,
        replicator: Replicator,
        handover: Handover,
        network: Network,
    ) -> None:
        self._node_id = node_id
        self._engine = engine
        self._journal = storage.journal
        self._membership = storage.membership
        self._vote = storage.vote
        self._replicator = replicator
        self._handover = handover
        self._network = network

    def found(self, cluster_id: str) -> None:
        """The first leader of all writes the configuration file's list into the log, with the cluster's name."""
        agreed = self._membership.current
        if agreed.index == 0:
            first = agreed.configuration
            self._append(type(first)(cluster_id, is_founding=True, members=first.members))

    def add(self, name: str, address: str) -> None:
        """See `ReplicatedLog.add_member`."""
        self._check_ready()
        try:
            check_node_id(name)
            parse_address(address)
        except BadLogConfig as error:
            raise ChangeRefused(str(error)) from error
        current = self._membership.current.configuration
        after = added(current, name, address)
        if after != current:
            self._append(after)

    def remove(self, name: str) -> None:
        """See `ReplicatedLog.remove_member`."""
        self._check_ready()
        current = self._membership.current.configuration
        after = removed(current, name, self._able(current))
        if name != self._node_id:
            self._append(after)
            return
        self._handover.begin(None)
        raise NoLeader(f"{name!r} leads and hands over; the next leader removes it")

    def promote(self) -> None:
        """Let a newcomer vote that has caught up."""
        current = self._membership.current.configuration
        for name in sorted(current.members.keys() - current.voters):
            if self._has_caught_up(name) and self._why_not_ready() is None:
                self._append(promoted(current, name))
                return

    def _has_caught_up(self, name: str) -> bool:
        """A voter without whole memory could make a majority that can elect into a minority."""
        near = self._replicator.has(name, self._journal.last_index - _CAUGHT_UP_ENTRIES)
        return near and self._replicator.is_joined(name) and self._network.is_connected(name)

    def _append(self, configuration: Configuration) -> None:
        self._engine.append(encode_command(configuration))
        _log.info(
            "raft_members_changed",
            index=self._journal.last_index,
            members=sorted(configuration.members),
            voters=sorted(configuration.voters),
        )

    def _able(self, configuration: Configuration) -> list[str]:
        """The voters that are here and whose memory is whole: only they can elect once the first list is history."""
        others = [
            name
            for name in sorted(configuration.voters - {self._node_id})
            if self._network.is_connected(name) and self._replicator.is_joined(name)
        ]
        return [self._node_id, *others] if self._vote.joined else others

    def _check_ready(self) -> None:
        if self._engine.role() != "leader":
            raise NoLeader("only the leader changes the members")
        reason = self._why_not_ready()
        if reason is not None:
            raise ChangePending(reason)

    def _why_not_ready(self) -> str | None:
        commit = self._engine.commit_index()
        if self._membership.current.index > commit:
            return "another change of the members is under way; ask again when it is committed"
        if self._journal.term_at(commit) != self._engine.term() or self._handover.is_under_way:
            return "the leadership is changing; ask again in a moment"
        current = self._membership.current.configuration
        able = self._able(current)
        if not 2 * len(able) > len(current.voters):
            return (
                f"only {len(able)} of {len(current.voters)} voters are here and up to date; ask again when more are"
            )
        return None
