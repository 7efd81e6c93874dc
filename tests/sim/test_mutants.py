"""Rules whose loss would hurt most, each broken under a seed that notices; `make sim-mutants` does all of them."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS, check_lines, notices

KILLERS = (
    "acknowledge before the sync",
    "lead without a quorum",
    "sync without syncing",
    "forget the vote",
    "cut entries that match",
    "return what is not synced",
    "count a vote twice",
    "count acknowledgements of another term",
    "believe acknowledgements of an earlier life",
    "let a node without memory vote",
    "cut the log before the state is durable",
    "fire without compare-and-set",
    "read the clock in apply",
    "never begin what a snapshot brought",
    "take results of any attempt",
    "begin after a long sleep what others have",
)


@pytest.mark.parametrize("name", KILLERS)
def test_the_simulation_notices_who_would(name):
    assert notices(name, MUTANTS[name].seed)


def test_every_mutant_finds_the_lines_it_changes():
    check_lines()
    assert len(MUTANTS) >= 25
