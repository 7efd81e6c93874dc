"""How this worker and the cluster look from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from chronos_common import VERSION
from chronos_common.clock import Clock
from chronos_common.protocol import ClockReading, MetricFamily, PeerStatus, WorkerStatus
from chronos_worker.metrics import Metrics
from chronos_worker.node import Node, View
from chronos_worker.progress import Progress
from chronos_worker.raft import LogStatus
from chronos_worker.skew import SkewReading
from chronos_worker.store.database import Database
from chronos_worker.store.execution_queries import get_counts
from chronos_worker.store.restore_progress import Restore, get_restore


class StatusDesk:
    """Puts together what the node, the log and the files say. Any thread."""

    def __init__(
        self,
        node: Node,
        database: Database,
        progress: Progress,
        metrics: Metrics,
        clock: Clock,
        notes: Callable[[], tuple[str, ...]],
        skews: Callable[[], dict[str, SkewReading]],
    ) -> None:
        self._node = node
        self._database = database
        self._progress = progress
        self._metrics = metrics
        self._clock = clock
        self._notes = notes
        self._skews = skews
        self._started_at = clock.now_ms()

    def age_ms(self) -> int:
        """How long ago this worker last heard from a leader; 0 if it leads."""
        return _age_ms(self._node.view.log)

    def term(self) -> int:
        """The current Raft term."""
        return self._node.view.log.term

    def leader_url(self) -> str | None:
        """The leader's control URL, if known."""
        return _leader_url(self._node.view)

    def leadership(self) -> tuple[str, str | None, frozenset[str]]:
        """(role, the leader's control URL if known, member ids)."""
        view = self._node.view
        return view.log.role, _leader_url(view), frozenset(view.log.members)

    def status(self) -> WorkerStatus:
        """Everything an operator may ask of one worker."""
        view, log = self._node.view, self._node.view.log
        with self._database.read() as connection:
            restore = get_restore(connection)
        skews = self._skews()
        return WorkerStatus(
            node_id=log.node_id,
            incarnation=view.claim.incarnation if view.claim else 0,
            version=VERSION,
            cluster_id=log.cluster_id or None,
            role=log.role,
            ready=view.ready,
            leader_id=log.leader_id,
            leader_url=_leader_url(view),
            has_quorum=log.has_quorum,
            term=log.term,
            commit_index=log.commit_index,
            applied_index=self._progress.index,
            first_index=log.first_index,
            last_index=log.last_index,
            age_ms=_age_ms(log),
            started_at=self._started_at,
            peers=tuple(_peer(log, node_id) for node_id in sorted(log.members)),
            nodes=view.nodes,
            seats=next((node.seats for node in view.nodes if node.node_id == log.node_id), 0),
            in_flight=view.pool.in_flight,
            queue_depth=view.pool.queue_depth,
            breakers_open=view.pool.open_breakers,
            journal_bytes=log.journal_bytes,
            database_bytes=self._database.size(),
            snapshot_age_ms=int((self._clock.monotonic_s() - view.snapshot_at_s) * 1_000),
            problems=(
                *_problems(log),
                *_skewed(skews),
                *([] if restore is None else [_told(restore)]),
                *self._notes(),
            ),
            level=view.level,
            clocks=tuple(ClockReading(name, *skew) for name, skew in sorted(skews.items())),
        )

    def families(self) -> list[MetricFamily]:
        """Every metric of this worker."""
        with self._database.read() as connection:
            counts = get_counts(connection)
        return self._metrics.families(self.status(), counts, self._node.view.log.rejected)


def _told(restore: Restore) -> str:
    going = "is being taken back" if restore.clearing else f"is under way, {sum(restore.rows.values())} rows are here"
    return f"the restore of the backup {restore.backup:.12} {going}; nothing fires until it ends or is aborted"


def _leader_url(view: View) -> str | None:
    return next((node.control_url for node in view.nodes if node.node_id == view.log.leader_id), None)


def _age_ms(log: LogStatus) -> int:
    if log.role == "leader":
        return 0
    silent = log.peers_contact.get(log.leader_id or "", math.inf)
    if math.isinf(silent):
        silent = min(log.peers_contact.values(), default=math.inf)
    return int(silent * 1_000) if math.isfinite(silent) else -1


def _peer(log: LogStatus, node_id: str) -> PeerStatus:
    silent = log.peers_contact.get(node_id, math.inf)
    return PeerStatus(
        node_id,
        log.members[node_id],
        int(silent * 1_000) if math.isfinite(silent) else None,
        log.match_index.get(node_id),
        votes=node_id in log.voters,
    )


def _problems(log: LogStatus) -> Iterator[str]:
    if not log.is_member:
        yield f"{log.node_id} is no member of the cluster any more: stop it, or add it again"
    for peer, text in log.problems.items():
        yield f"{peer}: {text}"


def _skewed(skews: dict[str, SkewReading]) -> Iterator[str]:
    for node_id, skew in sorted(skews.items()):
        if skew.is_too_far:
            way, effect = ("ahead of", "early") if skew.offset_ms > 0 else ("behind", "late")
            yield (
                f"the clock of {node_id} is {abs(skew.offset_ms) / 1_000:.1f} s (± {skew.error_ms / 1_000:.3f} s) "
                f"{way} the leader's: if it led, everything would come that much {effect}"
            )
