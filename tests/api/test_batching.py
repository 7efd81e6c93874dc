"""Long lists of changes: cut into parts, made in order, and honest about what was not delivered."""

import pytest

from chronos_api.batching import MAX_COMMAND_BYTES, propose_each, size_of
from chronos_common.commands import CreateJob
from chronos_common.errors import Conflict, InvalidRequest, OutcomeUnknown, TooLarge, Unavailable
from chronos_common.models import HttpTarget, JobSpec
from chronos_common.protocol import BatchDone, BatchItem, Outcome


def create(name, size=100):
    return CreateJob(JobSpec(name, HttpTarget("http://127.0.0.1:9/", body="x" * size)))


class Cluster:
    """Makes every job it is sent; `failures` maps the number of a call to what it raises instead."""

    def __init__(self, failures=None):
        self.failures = failures or {}
        self.calls = []

    def __call__(self, change, *, part, of):
        self.calls.append((part, of, change))
        if error := self.failures.get(len(self.calls)):
            raise error
        return Outcome(len(self.calls), BatchDone(tuple(BatchItem(item.spec.name, 1) for item in change.items), True))


HALF = MAX_COMMAND_BYTES // 2 - 500
"""Two of these fit one command, three do not."""


def names(told):
    return [one.job_id if isinstance(one, BatchItem) else one.code for one in told]


def test_every_change_is_answered_in_order_with_parts_that_fit_an_entry():
    cluster = Cluster()
    changes = [create(f"job-{n}", HALF) for n in range(5)]
    assert names(propose_each(changes, cluster)) == [f"job-{n}" for n in range(5)]
    assert [len(change.items) for _, _, change in cluster.calls] == [2, 2, 1]
    assert all(sum(map(size_of, change.items)) <= MAX_COMMAND_BYTES for _, _, change in cluster.calls)
    assert len({part for part, _, _ in cluster.calls}) == 3


def test_a_change_that_cannot_be_accepted_is_left_out_and_told():
    cluster = Cluster()
    told = propose_each([create("a"), InvalidRequest("bad"), create("b")], cluster)
    assert names(told) == ["a", "invalid_request", "b"]
    assert len(cluster.calls) == 1


def test_a_change_too_large_for_any_entry_harms_no_other():
    cluster = Cluster()
    told = propose_each([create("a"), create("huge", MAX_COMMAND_BYTES), create("b")], cluster)
    assert names(told) == ["a", "too_large", "b"]
    assert isinstance(told[1], TooLarge)
    assert str(MAX_COMMAND_BYTES) in told[1].message


@pytest.mark.parametrize("error", [Unavailable("no leader"), OutcomeUnknown("not confirmed")])
def test_a_batch_whose_first_part_is_not_delivered_fails_as_a_whole(error):
    with pytest.raises(type(error)):
        propose_each([create("a"), create("b")], Cluster({1: error}))


@pytest.mark.parametrize("error", [Unavailable("no leader"), OutcomeUnknown("not confirmed")])
def test_a_part_that_is_not_delivered_is_told_beside_what_was_made(error):
    cluster = Cluster({2: error})
    changes = [create(f"job-{n}", HALF) for n in range(6)]
    told = propose_each(changes, cluster)
    assert names(told) == ["job-0", "job-1", error.code, error.code, "unavailable", "unavailable"]
    assert len(cluster.calls) == 2


def test_a_refused_part_is_told_and_the_next_is_still_made():
    cluster = Cluster({1: Conflict("the key was used for something else")})
    told = propose_each([create(f"job-{n}", HALF) for n in range(3)], cluster)
    assert names(told) == ["conflict", "conflict", "job-2"]


def test_a_repeated_batch_makes_the_same_commands():
    changes = [create(f"job-{n}", HALF) for n in range(5)]
    first, again = Cluster(), Cluster()
    propose_each(changes, first)
    propose_each(changes, again)
    assert first.calls == again.calls


def test_a_part_that_holds_other_items_than_the_first_time_does_not_pass_for_it():
    first, again = Cluster(), Cluster()
    propose_each([create("a"), create("b")], first)
    propose_each([create("a"), InvalidRequest("its one fire time has passed by now")], again)
    assert first.calls[0][0] == again.calls[0][0]
    assert first.calls[0][1] != again.calls[0][1]


def test_a_batch_of_nothing_acceptable_proposes_nothing():
    cluster = Cluster()
    assert names(propose_each([InvalidRequest("bad")], cluster)) == ["invalid_request"]
    assert cluster.calls == []
