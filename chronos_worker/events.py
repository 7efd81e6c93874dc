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
from chronos_worker.clock_watch import ClockStep
from chronos_worker.dispatch import DeliveryResult
from chronos_worker.metrics import Metrics
from chronos_worker.skew import SkewReading
from chronos_worker.verifier import Comparison

MAX_NOTES: Final = 20
NOTE_LIFETIME_S: Final = 3_600.0
"""How long the status goes on to tell what happened."""
_root: Final = logging.getLogger()


class Events:
    """Observer of the node and of its deliveries."""

    def __init__(self, log: Any, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._notes: deque[tuple[float, str]] = deque(maxlen=MAX_NOTES)
        self._states: dict[str, NodeState] = {}

    def notes(self) -> tuple[str, ...]:
        """The last few things an operator should hear of, oldest first. Any thread."""
        now_s = self._clock.monotonic_s()
        return tuple(text for noted_at_s, text in tuple(self._notes) if now_s - noted_at_s < NOTE_LIFETIME_S)

    def attempt_ended(self, result: DeliveryResult, lateness_ms: int) -> None:
        """An attempt ended that had begun this long after its occurrence was due."""
        self._metrics.attempt_ended(result, lateness_ms)
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

    def clock_stepped(self, step: ClockStep) -> None:
        """The wall clock was moved."""
        self._metrics.clock_stepped()
        self._log.warning("clock_stepped", by_ms=step.by_ms)
        self._note(f"the wall clock of this machine was moved by {step.by_ms / 1_000:+.1f} s")

    def clock_skewed(self, node_id: str, reading: SkewReading) -> None:
        """The clock of another node is further from ours than the cluster should bear. Any thread."""
        self._log.warning("clock_skewed", node_id=node_id, offset_ms=reading.offset_ms, error_ms=reading.error_ms)

    def life_began(self, claim: Claim) -> None:
        """This node has a new incarnation."""
        self._log.info("life_began", node_id=claim.node_id, incarnation=claim.incarnation)

    def absent(self, silent_s: float) -> None:
        """This node was out of touch; it begins nothing before it knows what happened meanwhile."""
        self._log.warning("out_of_touch", silent_s=round(silent_s, 1))
        self._note(f"this worker was stopped or heard nothing of the leader for {silent_s:.1f} s")

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
        self._notes.append((self._clock.monotonic_s(), f"{when:%Y-%m-%d %H:%M:%SZ} {sentence}"))
