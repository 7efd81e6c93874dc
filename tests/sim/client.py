"""A client that asks for changes, repeats what was not answered, and remembers every acknowledgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from chronos_common import ids
from chronos_common.commands import CancelExecution, Change, CreateJob, DeleteJob, TriggerJob, UpdateJob
from chronos_common.models import (
    ConcurrencyPolicy,
    HttpTarget,
    JobSpec,
    Misfire,
    MisfirePolicy,
    Retention,
    RetryPolicy,
)
from chronos_common.protocol import Answer, ExecutionAccepted, JobChanged, NotLeader, Outcome, Proposal, Rejected
from chronos_worker.desk import Slip
from tests.sim.cluster import LawBroken
from tests.sim.world import World

PATIENCE_S = 3.0
_EXPECTED = ("not_found", "conflict", "precondition_failed")
"""What a change of something that was deleted or ended meanwhile may be told. A new name is never refused."""
_BEHAVIOURS = ("quick", "quick", "slow", "flaky", "lying", "broken", "refusing", "hanging")
_SCHEDULES = ("@every 1s", "@every 2s", "@every 5s", "* * * * *", "*/2 * * * *", "0 0 1 1 *")


@dataclass
class Errand:
    """One change on its way: the same command id until it is answered."""

    proposal: Proposal
    steady: bool = False
    slip: Slip | None = None
    asked_at: float = float("-inf")
    answer: Answer | None = None
    index: int = 0


@dataclass
class Client:
    """Asks a drawn node, follows hints to the leader, asks again."""

    world: World
    random: Random
    errands: list[Errand] = field(default_factory=list)
    steady: dict[str, JobSpec] = field(default_factory=dict)
    """Jobs nobody touches after their creation, by id: their occurrences can be counted exactly."""
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    executions: list[str] = field(default_factory=list)

    def open_errands(self) -> list[Errand]:
        """What is not answered yet."""
        return [errand for errand in self.errands if errand.answer is None]

    def ask(self, change: Change, *, steady: bool = False) -> None:
        """Begin an errand."""
        number = len(self.errands)
        proposal = Proposal(f"command {number}", b"fingerprint %d" % number, "client", change)
        self.errands.append(Errand(proposal, steady))

    def step(self) -> None:
        """Look for answers; ask where there was none."""
        for errand in self.open_errands():
            reply = None if errand.slip is None else errand.slip.reply
            if isinstance(reply, Outcome):
                self._answered(errand, reply)
            elif errand.slip is None or reply is not None or self.world.clock.now > errand.asked_at + PATIENCE_S:
                self._send(errand, reply)

    def _send(self, errand: Errand, reply: object) -> None:
        name = self.random.choice(self.world.names)
        if isinstance(reply, NotLeader) and reply.leader_url is not None:
            name = reply.leader_url.removeprefix("http://")
        slip = self.world.ask(name, errand.proposal)
        errand.slip = slip if isinstance(slip, Slip) else None
        errand.asked_at = self.world.clock.now

    def _answered(self, errand: Errand, outcome: Outcome) -> None:
        errand.answer, errand.index = outcome.answer, outcome.index
        self.world.note(
            f"client hears {errand.proposal.command_id} at {outcome.index}: {type(outcome.answer).__name__}"
        )
        match errand.answer:
            case JobChanged(job=job):
                self.jobs[job.id] = job.spec
                if errand.steady:
                    self.steady[job.id] = job.spec
            case ExecutionAccepted(execution=execution):
                self.executions.append(execution.id)
            case Rejected(code=code) if code not in _EXPECTED or isinstance(errand.proposal.change, CreateJob):
                raise LawBroken(f"{errand.proposal} is refused: {errand.answer}")

    # -- what to ask for ----------------------------------------------------------------------------------

    def create(self) -> None:
        """A job, every second one of them steady."""
        steady = self.random.random() < 0.5
        self.ask(CreateJob(self._spec(f"job {len(self.errands)}", steady=steady)), steady=steady)

    def disturb(self) -> None:
        """Change, trigger, delete or cancel something that exists."""
        loose = [job_id for job_id in self.jobs if job_id not in self.steady]
        if not loose:
            return
        job_id = self.random.choice(loose)
        match self.random.choice(["update", "trigger", "trigger", "delete", "cancel"]):
            case "update":
                self.ask(UpdateJob(job_id, self._spec(self.jobs[job_id].name, steady=False)))
            case "trigger":
                self.ask(TriggerJob(job_id))
            case "delete":
                self.ask(DeleteJob(job_id))
            case "cancel" if self.executions:
                raw_id = ids.from_text(self.random.choice(self.executions))
                assert raw_id is not None
                self.ask(CancelExecution(raw_id))

    def stop_everything(self) -> None:
        """Delete every loose job and disable every steady one, so that the ledger can come to rest."""
        for job_id, spec in sorted(self.jobs.items()):
            if job_id not in self.steady:
                self.ask(DeleteJob(job_id))
            else:
                self.ask(UpdateJob(job_id, _disabled(spec)))

    def _spec(self, name: str, *, steady: bool) -> JobSpec:
        draw = self.random
        return JobSpec(
            name=name,
            target=HttpTarget(url=f"http://{draw.choice(_BEHAVIOURS)}.example/{name}"),
            schedule=draw.choice(_SCHEDULES),
            retry_policy=RetryPolicy(draw.choice([1, 3]), 200, 1_000, 2.0),
            timeout_ms=draw.choice([500, 1_500, 3_000]),
            concurrency=draw.choice(list(ConcurrencyPolicy)),
            misfire=Misfire(draw.choice(list(MisfirePolicy)), draw.choice([500, 2_000, 60_000]), 60_000, 20),
            retention=Retention() if steady else Retention(max_count=draw.choice([1, 1_000])),
        )


def _disabled(spec: JobSpec) -> JobSpec:
    fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return JobSpec(**{**fields, "enabled": False})
