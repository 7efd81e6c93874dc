"""What happens in a worker, told to its log, its metrics and its operator."""

from __future__ import annotations

import datetime
import logging
from collections import deque
from typing import Any, Final

from chronos_common import ids
from chronos_common.clock import Clock
from chronos_common.commands import Claim
from chronos_common.models import AttemptStatus, NodeInfo, NodeState
from chronos_worker.dispatch import DeliveryResult
from chronos_worker.metrics import Metrics
from chronos_worker.verifier import Comparison

MAX_NOTES: Final = 20
_root: Final = logging.getLogger()


class Events:
    """Observer of the node and of its deliveries."""

    def __init__(self, log: Any, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._notes: deque[str] = deque(maxlen=MAX_NOTES)
        self._states: dict[str, NodeState] = {}

    def notes(self) -> tuple[str, ...]:
        """The last few things an operator should hear of, oldest first. Any thread."""
        return tuple(self._notes)

    def attempt_ended(self, result: DeliveryResult, fire_time: int) -> None:
        """An attempt of the occurrence at `fire_time` ended."""
        self._metrics.attempt_ended(result, fire_time)
        level = logging.DEBUG if result.status is AttemptStatus.SUCCEEDED else logging.INFO
        if not _root.isEnabledFor(level):
            return  # thousands a second: not even the facts are put together
        self._log.log(
            level,
            "attempt_ended",
            execution_id=ids.to_text(result.execution_id),
            attempt=result.attempt,
            status=result.status.value,
            http_status=result.http_status,
            error_code=result.error_code,
            duration_ms=result.finished_at - result.started_at,
        )

    def plan_applied(self, after_s: float) -> None:
        """A plan was seen applied this long after it was proposed."""
        self._metrics.plan_applied(after_s)

    def clock_stepped(self, by_ms: int) -> None:
        """The wall clock was moved."""
        self._metrics.clock_stepped()
        self._log.warning("clock_stepped", by_ms=by_ms)
        self._note(f"the wall clock of this machine was moved by {by_ms / 1_000:+.1f} s")

    def life_began(self, claim: Claim) -> None:
        """This node has a new incarnation."""
        self._log.info("life_began", node_id=claim.node_id, incarnation=claim.incarnation)

    def nodes_changed(self, nodes: list[NodeInfo]) -> None:
        """A node began, drained, left or was declared lost."""
        for node in nodes:
            if self._states.get(node.node_id) is not node.state:
                self._states[node.node_id] = node.state
                self._log.info(
                    "node_state", node_id=node.node_id, state=node.state.value, incarnation=node.incarnation
                )
                if node.state is NodeState.LOST:
                    self._note(f"node {node.node_id} was declared lost; its attempts start again elsewhere")

    def replicas_differ(self, comparison: Comparison) -> None:
        """Nodes have different rows at the same index: a defect, or a disk that lies."""
        self._metrics.replicas_differ()
        self._log.error("replicas_differ", index=comparison.index, digests=dict(comparison.reports))
        self._note(
            f"replicas differ at index {comparison.index}: "
            + ", ".join(f"{node_id} has {digest[:12]}" for node_id, digest in sorted(comparison.reports.items()))
        )

    def _note(self, sentence: str) -> None:
        when = datetime.datetime.fromtimestamp(self._clock.now_ms() / 1_000, datetime.UTC)
        self._notes.append(f"{when:%Y-%m-%d %H:%M:%SZ} {sentence}")
