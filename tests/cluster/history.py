"""What a campaign remembers: what the clients did and were told, what was injected, and what has to come of it."""

from typing import Literal, NamedTuple


class Operation(NamedTuple):
    """One thing a client asked for, with all its repeats.

    `value` is what it wrote or read: the revision of a job, None for a job that is not there; the execution's id
    for a trigger. `ok`: acknowledged. `fail`: certainly not done. `unknown`: it may have been done, or be done yet;
    its client leaves that job alone from then on.
    """

    kind: Literal["create", "update", "delete", "trigger", "read"]
    job: str
    value: int | str | None
    outcome: Literal["ok", "fail", "unknown"]


class Fault(NamedTuple):
    """A stretch in which something was broken: from just before it was injected until all were at work again."""

    kind: str
    begin_ms: int
    end_ms: int


class Target(NamedTuple):
    """The occurrences a job owes: first, first + step ... below until. Milliseconds."""

    job_id: str
    first: int
    until: int
    step_ms: int


class Allowance(NamedTuple):
    """How late a run may begin: `calm_ms` after its fire time, `after_fault_ms` after the end of a fault near it."""

    calm_ms: int = 5_000
    after_fault_ms: int = 10_000
