"""Members come and go while real workers do their work."""

from chronos_common.commands import CreateJob
from chronos_common.models import ConcurrencyPolicy, HttpTarget, JobSpec
from chronos_common.protocol import AddMember, CompareReplicas, RemoveMember
from tests.support.cluster import cluster
from tests.support.ledger import all_executions, unaccounted
from tests.support.processes import wait_for
from tests.support.sink import sink


def voters(nodes, name):
    status = nodes.status(name)
    return {peer.node_id for peer in status.peers if peer.votes} if status else set()


def is_out(status):
    """Whether it knows: by the entry that removes it, or by a refusal if that did not reach it or it never was in."""
    return any("no member" in text or "not among our members" in text for text in status.problems)


def test_a_node_is_replaced_by_a_new_one_and_nothing_is_missed(tmp_path):
    with sink() as target, cluster(tmp_path) as nodes:
        gone = nodes.leader()
        spec = JobSpec("j", HttpTarget(target.url), "* * * * * *", concurrency=ConcurrencyPolicy.ALLOW)
        job = nodes.client.propose(CreateJob(spec), command_id="j", fingerprint=b"f", principal="t").answer.job
        stay = [name for name in nodes.names if name != gone]
        nodes.join("n4", stay)
        wait_for(lambda: nodes.status("n4"), "n4 to answer")
        wait_for(lambda: is_out(nodes.status("n4")), "n4 to be refused")

        nodes.client.admin(AddMember("n4", nodes.raft["n4"]), to_leader=True)
        wait_for(lambda: voters(nodes, "n4") == {"n1", "n2", "n3", "n4"}, "n4 to vote")
        nodes.client.admin(RemoveMember(gone), to_leader=True)  # it leads, so it hands over first
        wait_for(lambda: voters(nodes, "n4") == {*stay, "n4"}, "the list without it")
        wait_for(lambda: is_out(nodes.status(gone)), "it to know that it is out")
        nodes.kill(gone)
        wait_for(
            lambda: gone not in {node.node_id for node in nodes.status("n4").nodes},
            "its row to be dropped",
            timeout_s=30,
        )

        nodes.kill(stay[0])
        nodes.start(stay[0])  # its configuration file still names the one that is gone
        leader = nodes.leader()
        seen = len(target.requests)
        wait_for(lambda: len(target.requests) >= seen + 5, "five more executions")
        compared = nodes.client.admin(CompareReplicas(10_000))
        assert compared.missing == ()
        assert (sorted(compared.digests), len(set(compared.digests.values()))) == ([*stay, "n4"], 1)
        executions = all_executions(nodes.client, job.id)
        until = max(execution.fire_time for execution in executions)
        assert unaccounted(executions, 1_000, job.next_fire_time, until) == []
        assert leader in {*stay, "n4"}
