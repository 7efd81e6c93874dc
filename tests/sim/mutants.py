"""Rules broken on purpose, one at a time: the simulation has to notice every one of them.

A mutant is a line of the product's own source with another in its place, or several lines where one rule is kept
in two places. Each names where to begin: a seed of whole nodes, a seed of logs alone, or a transcript in
`tests/scenarios`; some need a plot that chance seldom draws. `make sim-mutants` runs every one of them, from that
seed on; the killers run with `make test`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import structlog

from tests.raft.test_fuzz import check_schedule
from tests.scenarios.transcript import played, written
from tests.sim.campaign import Campaign
from tests.sim.plots import Plot, late_word, long_sleep, short_absence


class Edit(NamedTuple):
    """In `where` ("module:function" or "module:Class.function") `old`, found exactly once, becomes `new`."""

    where: str
    old: str
    new: str


class Mutant(NamedTuple):
    """Edits that break one rule; several where one rule is kept in two places."""

    edits: tuple[Edit, ...]
    seed: int = 0
    """The hunt begins with this one."""
    level: str = "node"
    """`node`: whole nodes are simulated; `log`: the logs alone, which is faster and harsher to them."""
    scenario: str = ""
    """The transcript that goes otherwise, where chance is too slow."""
    plot: Plot | None = None
    """What happens again and again in whole nodes, where chance seldom makes it happen."""


_LOG = "chronos_worker.raft.log:PySyncObjLog."
_JOURNAL = "chronos_worker.raft.journal:Journal."
_GUARD = "chronos_worker.raft.guard:Guard."
_ELECTION = "chronos_worker.raft.election:Elections."
_MACHINE = "chronos_worker.state_machine."

MUTANTS = {
    "acknowledge before the sync": Mutant(
        (
            Edit(
                _LOG + "_turn",
                "    self._journal.sync()\n    self._guard.release()\n",
                "    self._guard.release()\n    self._network.flush()\n    self._journal.sync()\n",
            ),
        ),
        scenario="acknowledgements_wait_for_the_sync",
    ),
    "sync without syncing": Mutant(
        (Edit(_JOURNAL + "sync", "self._file.sync()", "pass"),),
        0,
        "log",
    ),
    "rewrite the journal without syncing": Mutant(
        (Edit("chronos_worker.raft.rewriting:Rewriting.add", "self._file.sync()", "pass"),),
        0,
        "log",
    ),
    "forget the vote": Mutant(
        (
            Edit(
                "chronos_worker.raft.vote:VoteFile.save",
                "self._write(msgspec.structs.replace(self._record, term=term, voted_for=voted_for))",
                "self._record = msgspec.structs.replace(self._record, term=term, voted_for=voted_for)",
            ),
        ),
        0,
        "log",
    ),
    "cut entries that match": Mutant(
        (
            Edit(
                "chronos_worker.raft.engine:LibraryJournal.add",
                "if known == term or idx <= self._journal.base_index:",
                "if idx <= self._journal.base_index:",
            ),
            Edit(_GUARD + "_in_append", "if not entries and self._journal.term_at(index) == term:", "if False:"),
        ),
        6,
        "log",
    ),
    "commit what no message verified": Mutant(
        (Edit(_GUARD + "_in_append", "min(message.commit_index, last)", "message.commit_index"),),
        0,
        "log",
    ),
    "count acknowledgements of another term": Mutant(
        (Edit(_GUARD + "_in_appended", "self._leads(message.term) and", "self._engine.role() == 'leader' and"),),
        scenario="acknowledgements_belong_to_their_term",
    ),
    "return what is not synced": Mutant(
        (
            Edit(
                _LOG + "_collect",
                "min(self._engine.applied_index(), self._journal.synced_index)",
                "self._journal.last_index",
            ),
        ),
        0,
        "log",
    ),
    "count a vote twice": Mutant(
        (Edit(_ELECTION + "is_first_vote", "if peer in self._voters:", "if False:"),),
        scenario="a_vote_counts_once",
    ),
    "let a node without memory vote": Mutant(
        (
            Edit(
                _ELECTION + "may_vote",
                "return self._vote.joined or request.round in self._supported.get(peer, ())",
                "return True",
            ),
            # Nobody stands who would need that vote, as long as the supporters without memory are not counted.
            Edit(
                _ELECTION + "take_answer",
                "sum(supporter.joined for supporter in supporters.values())",
                "len(supporters)",
            ),
        ),
        scenario="a_lost_disk_does_not_help_a_stale_log",
    ),
    "lead without a quorum": Mutant(
        (
            Edit(
                "chronos_worker.raft.engine:Engine.__init__",
                "leaderFallbackTimeout=timing.quorum_loss_s",
                "leaderFallbackTimeout=10**6",
            ),
        ),
        0,
    ),
    "cut the log before the state is durable": Mutant(
        (
            Edit(
                "chronos_worker.cutting:Cutting.step",
                "self._checkpoints.ask()\n    durable_index = self._checkpoints.durable_index\n",
                "pass\n    durable_index = applied_index\n",
            ),
        ),
        0,
    ),
    "install a snapshot beside the old journal": Mutant(
        (Edit("chronos_worker.raft.storage:Storage.install", "self.journal.reset(index, term)", "pass"),),
        0,
    ),
    "keep the members that only replaced entries name": Mutant(
        (
            Edit(
                "chronos_worker.raft.storage:Storage.install",
                "self.membership.follow(self.journal)",
                "self.membership.cut(self.journal.last_index + 1)",
            ),
        ),
        scenario="a_list_of_members_goes_with_the_entry_it_stands_in",
    ),
    "answer what was answered before the clock went back": Mutant(
        (
            Edit(
                "chronos_worker.state_machine.firing:apply_fire",
                "if item.expected <= job.answered_until:",
                "if False:",
            ),
        ),
        101_552,
    ),
    "begin what is over already": Mutant(
        (Edit("chronos_worker.absence:Absence.admit", "self._kept.pop(item, None)", "pass"),),
        143,
    ),
    "say a snapshot is newer than it is": Mutant(
        (
            Edit(
                "chronos_worker.store.database:Database.copy_to",
                'return int(rows["applied_index"]),',
                'return int(rows["applied_index"]) + 1,',
            ),
        ),
        0,
    ),
    "never begin what a snapshot brought": Mutant(
        (
            Edit(
                "chronos_worker.node:Node._adopt_snapshot",
                "self._begin(unbegun, [], self._log.status().term)",
                "pass",
            ),
        ),
        2,
        plot=short_absence,
    ),
    "begin after a long sleep what others have": Mutant(
        (Edit("chronos_worker.absence:Absence.noticed", "silent_s <= self._bound_s", "True"),),
        3,
        plot=long_sleep,
    ),
    "take an old word for the news": Mutant(
        (
            Edit(
                "chronos_worker.absence:Absence.heard",
                "self._in_touch_at_s = max(",
                "self._absent = None; self._in_touch_at_s = max(",
            ),
        ),
        3,
        plot=long_sleep,
    ),
    "believe a barrier however long it took": Mutant(
        (
            Edit(
                "chronos_worker.absence:Absence.reached",
                "now_s <= self._asked.get(token, -math.inf) + self._bound_s",
                "token in self._asked",
            ),
            Edit("chronos_worker.absence:Absence.ask", "if now_s <= at_s + self._bound_s", ""),
        ),
        114_193,
    ),
    "fire without compare-and-set": Mutant(
        (
            Edit(
                _MACHINE + "firing:_jobs_as_planned",
                "if row is not None and (row[1], row[2]) == (item.version, item.expected):",
                "if row is not None:",
            ),
        ),
        0,
    ),
    "read the clock in apply": Mutant(
        (
            Edit(
                _MACHINE + "firing:apply_fire",
                "at=command.at, claim=claim",
                "at=__import__('time').time_ns(), claim=claim",
            ),
        ),
        0,
    ),
    "answer a repeated command anew": Mutant(
        (
            Edit(
                _MACHINE + "machine:_apply_request",
                "    if known is None:\n",
                "    tx.change('DELETE FROM outcomes WHERE command_id = ?', request.command_id)\n    if True:\n",
            ),
        ),
        0,
    ),
    "admit an overlap": Mutant(
        (Edit(_MACHINE + "transitions:admits", "return not active or", "return True or"),),
        0,
    ),
    "start an attempt that was started": Mutant(
        (
            Edit(_MACHINE + "firing:apply_start", "if attempt != item.number - 1:", "if False:"),
            # The status says nearly the same.
            Edit(_MACHINE + "firing:apply_start", "status = 'pending'", "status IN ('pending', 'running')"),
        ),
        3,
    ),
    "forget what a lost node ran": Mutant(
        (
            Edit(
                _MACHINE + "endings:lose_attempts",
                "for execution in (Active(*row) for row in found)",
                "for execution in ()",
            ),
        ),
        3,
    ),
    "skip without a row": Mutant(
        (
            Edit(
                _MACHINE + "firing:apply_fire",
                "executions.append(skipped_row(tx, job, new, skip.skipped, at=command.at, reason=reason))",
                "pass",
            ),
        ),
        0,
    ),
    "send what was only planned": Mutant(
        (
            Edit(
                "chronos_worker.node:Node._lead",
                "    return commands",
                """    for command in commands:
        for item in getattr(command, "items", ()):
            for run in getattr(item, "runs", ())[:1]:
                at = run.fire_time
                early = Assigned(1, run.execution_id, 1, item.job_seq, item.version, at, None, at)
                self._deliveries.begin([early], 1)
    return commands""",
            ),
        ),
        0,
    ),
    "live the same life twice": Mutant(
        (Edit("chronos_worker.life:Life.begin", "self._next_incarnation(known + 1)", "max(known, 1)"),),
        0,
    ),
    "drop a result once proposed": Mutant(
        (Edit("chronos_worker.outbox:Outbox.next_command", "self._proposed[key] = (result, now_s)", "pass"),),
        0,
    ),
    "keep working after being declared lost": Mutant(
        (
            Edit(
                "chronos_worker.node:Node._live",
                "if self._life.claim is not None and not self._life.over:",
                "if self._life.claim is not None:",
            ),
        ),
        0,
    ),
    "plan from rows that lag": Mutant(
        (
            Edit(
                "chronos_worker.planner.fires:_item",
                "job.next_fire_time,\n        answer.next_fire_time",
                "job.next_fire_time,\n        (schedule.next_after(answer.next_fire_time, job.created_at)"
                " if answer.next_fire_time else None)",
            ),
        ),
        0,
    ),
    "silence for ever is not loss": Mutant(
        (Edit("chronos_worker.planner.presence:Presence.lost", "now_s - since >= self._grace_s / 2", "False"),),
        0,
    ),
    "take results of any attempt": Mutant(
        (
            Edit(
                _MACHINE + "results:apply_results",
                'AND node_id = ? AND incarnation = ?"',
                "AND ? != '' AND ? != -1\"",
            ),
            Edit(_MACHINE + "results:apply_results", "execution.attempt == item.number", "True"),
        ),
        36,
        plot=late_word,
    ),
    "believe acknowledgements of an earlier life": Mutant(
        (Edit(_GUARD + "on_disconnected", "self._engine.forget_match(peer)", "pass"),),
        scenario="acknowledgements_end_with_the_life_that_gave_them",
    ),
    "count who forgot its promises": Mutant(
        (Edit(_GUARD + "_in_appended", " and self._replicator.counts(peer)", ""),),
        scenario="who_forgot_a_promise_does_not_help_a_leader_that_slept",
    ),
    "tell who forgot its promises what is committed": Mutant(
        (Edit("chronos_worker.raft.replication:Replicator._commit_for", "if progress.counts else 0", ""),),
        scenario="who_forgot_a_promise_does_not_help_a_leader_that_slept",
    ),
    "trust who forgot its promises at once": Mutant(
        (
            Edit(
                "chronos_worker.raft.replication:Replicator.trust",
                "self._engine.commit_index() > progress.met_at",
                "True",
            ),
        ),
        scenario="who_forgot_a_promise_does_not_help_a_leader_that_slept",
    ),
    "be up to date at the first leader's commit": Mutant(
        (Edit(_LOG + "_reaches_contact", "returned_term >= term", "True"),),
        scenario="up_to_date_is_who_has_an_entry_of_the_leaders_own_term",
    ),
    "prefer any candidate": Mutant(
        (
            Edit(
                _ELECTION + "answer",
                "(question.last_term, question.last_index) >= (self._journal.last_term, self._journal.last_index)",
                "True",
            ),
            Edit(_GUARD + "_in_request_vote", "last_log_index=message.last_index", "last_log_index=1 << 60"),
            Edit(_GUARD + "_in_request_vote", "last_log_term=message.last_term", "last_log_term=1 << 60"),
        ),
        3,
        "log",
    ),
}


def check_lines() -> None:
    """Every mutant has to find the lines it changes.

    Raises:
        LookupError: naming a mutant whose lines were rewritten; it has to be rewritten with them.
    """
    for name, mutant in MUTANTS.items():
        try:
            with broken(mutant):
                pass
        except (LookupError, AttributeError) as error:
            raise LookupError(f"mutant {name!r} is stale: {error}") from error


def caught_by(name: str, seeds: int) -> tuple[int | None, str]:
    """The first seed that notices a mutant, and how; None if none of `seeds` does.

    Raises:
        AssertionError: there the product itself fails, unbroken.
    """
    first = MUTANTS[name].seed
    if MUTANTS[name].scenario:
        seeds = 0
    for seed in [first, *(seed for seed in range(seeds) if seed != first)]:
        if found := notices(name, seed):
            unbroken = _outcome(MUTANTS[name], seed)
            assert not unbroken, f"seed {seed} of {name!r} fails without the mutant too: {unbroken}"
            return seed, found
    return None, ""


def notices(name: str, seed: int) -> str:
    """What the simulation says of a mutant under one seed; empty if nothing."""
    with broken(MUTANTS[name]):
        return _outcome(MUTANTS[name], seed)


def _outcome(mutant: Mutant, seed: int) -> str:
    """What goes wrong where a mutant is looked for; empty if nothing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as directory:
        try:
            if scenario := mutant.scenario:
                return "" if played(scenario, Path(directory)) == written(scenario) else f"{scenario} goes otherwise"
            if mutant.level == "log":
                check_schedule(Path(directory), seed)
            else:
                Campaign(Path(directory) / "world", seed, mutant.plot).run()
        except Exception as error:  # noqa: BLE001 - however it shows
            return f"{type(error).__name__}: {str(error)[:90]}"
    return ""


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """The product with one rule broken."""
    with ExitStack() as edits:
        for edit in mutant.edits:
            edits.enter_context(_edited(edit))
        yield


@contextmanager
def _edited(edit: Edit) -> Iterator[None]:
    module_name, _, path = edit.where.partition(":")
    module = importlib.import_module(module_name)
    owner_name, _, name = path.rpartition(".")
    owner: Any = getattr(module, owner_name) if owner_name else module
    original = inspect.getattr_static(owner, name)
    changed = _changed(edit, module, original, name)
    # A function may have been imported by name elsewhere: every place that holds it is changed.
    places = [(owner, name)] if owner is not module else _holders(name, original)
    for holder, attribute in places:
        setattr(holder, attribute, changed)
    try:
        yield
    finally:
        for holder, attribute in places:
            setattr(holder, attribute, original)


def _changed(edit: Edit, module: ModuleType, original: Any, name: str) -> Callable[..., Any]:
    source = getattr(original, "_mutated", None) or textwrap.dedent(inspect.getsource(original))
    if source.count(edit.old) != 1:
        raise LookupError(f"{edit.where} has {source.count(edit.old)} times {edit.old!r}, the mutant is stale")
    code = source.replace(edit.old, edit.new)
    if "super()" in code:  # a method compiled by itself has no class of its own
        code = code.replace("super()", "super(type(self), self)")
    found: dict[str, Any] = {}
    exec(compile(code, edit.where, "exec"), module.__dict__, found)
    function: Callable[..., Any] = found[name]
    function._mutated = code  # type: ignore[attr-defined]  # the source of what may be edited again
    return function


def _holders(name: str, original: object) -> list[tuple[ModuleType, str]]:
    ours = [module for key, module in sys.modules.items() if key.startswith("chronos_") and module is not None]
    return [(module, name) for module in ours if module.__dict__.get(name) is original]
