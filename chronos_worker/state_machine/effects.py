"""What a node must do because a command was applied: the only source of outside action."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chronos_common.commands import ReportDigest
from chronos_common.protocol import Outcome


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """This life of this node is to deliver attempt `number`."""

    execution_seq: int
    execution_id: bytes
    number: int
    job_seq: int
    job_version: int
    fire_time: int
    extra: bytes | None
    at: int
    """When that was decided, by the clock of the leader then."""


class Aborted(NamedTuple):
    """Attempt `number` no longer counts; its request, if it runs here, is to be cut off."""

    execution_seq: int
    number: int


class Answered(NamedTuple):
    """A client's command has its answer."""

    command_id: str
    outcome: Outcome


class Recorded(NamedTuple):
    """A result of this node was applied, whether or not it still counted."""

    execution_seq: int
    number: int


class BarrierReached(NamedTuple):
    """Everything proposed before the barrier has been applied."""

    token: str


class DigestDue(NamedTuple):
    """The rows are to be digested exactly as they are now."""

    token: str


class DigestReported(NamedTuple):
    """A node said what it found."""

    report: ReportDigest


class Planned(NamedTuple):
    """A command of the planner was applied, whoever led when it was made."""

    at: int | None
    """The instant (ms) it was planned for; None for moves, which have none."""


class NodesChanged(NamedTuple):
    """Some node began, left or was declared lost."""

    node_id: str


class RestoreEnded(NamedTuple):
    """The rows of a backup are all there, and may be due."""


Effect = (
    Assigned | Aborted | Answered | Recorded | BarrierReached | Planned | NodesChanged | DigestDue | DigestReported
    | RestoreEnded
)  # fmt: skip
