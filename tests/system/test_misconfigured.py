"""Workers set up wrongly, beside a cluster at work: each is told what is wrong, and the cluster does not mind."""

import copy
import shutil
import subprocess
import sys

import pytest
import yaml

from chronos_common.commands import CreateJob
from chronos_common.models import HttpTarget, JobSpec
from chronos_common.protocol import CompareReplicas
from tests.support.cluster import Cluster, cluster
from tests.support.processes import Process, free_port, wait_for, worker_status


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.leader()
        yield running


@pytest.fixture
def beside(nodes, tmp_path):
    """Starts one more worker from the changed configuration of a member; ends it, and the cluster works."""
    started = []

    def start(name, change):
        document = yaml.safe_load((nodes.directory / f"{name}.yaml").read_text())
        section = document["cluster"]
        section["data_dir"] = str(tmp_path / "data")
        section["control"]["address"] = f"127.0.0.1:{free_port()}"
        change(section)
        path = tmp_path / "beside.yaml"
        path.write_text(yaml.safe_dump(document))
        started.append(Process("chronos_worker", path, tmp_path / "beside.log"))
        return started[-1], f"http://{section['control']['address']}"

    yield start
    for process in started:
        process.close()
    create(nodes, tmp_path.name)


def create(nodes, name):
    change = CreateJob(JobSpec(name, HttpTarget("http://127.0.0.1:9/")))
    return nodes.client.propose(change, command_id=name, fingerprint=b"f", principal="t").answer.job


def told(url, words):
    """Waits until a worker's status says this."""

    def look():
        status = worker_status(url)
        return status and any(words in problem for problem in status.problems)

    wait_for(look, f"{url} to say: {words}")


def elsewhere(section):
    section["raft"]["address"] = f"127.0.0.1:{free_port()}"


def test_a_second_worker_with_one_node_id_is_kept_out_and_says_so(nodes, beside):
    leader, victim = nodes.leader(), "n3"
    term = nodes.status(leader).term
    process, url = beside(victim, elsewhere)
    words = "another node with the id 'n3' is connected already"
    told(url, f"n1: n1 refuses us: {words}")
    told(nodes.urls["n1"], f"127.0.0.1: {words}")
    assert "raft_link_refused" in process.output()
    assert words in process.output()
    assert worker_status(url).ready is False
    assert (nodes.leader(), nodes.status(leader).term) == (leader, term)


def test_a_second_worker_at_one_address_ends_and_names_it(nodes, beside):
    process, _ = beside("n1", lambda _section: None)
    assert process.popen.wait(timeout=20) == 2
    words = f"the raft address '{nodes.raft['n1']}' cannot be bound: [Errno 98] Address already in use"
    assert words in process.output()
    assert "Traceback" not in process.output()


def test_a_worker_with_the_data_of_another_cluster_finds_nobody_who_speaks_with_it(nodes, beside, tmp_path):
    nodes.kill("n3")
    alone, url = beside("n3", lambda section: section["raft"].update(peers=[]))
    wait_for(lambda: (status := worker_status(url)) and status.ready, "a cluster of its own")
    alone.terminate()
    process, url = beside("n3", lambda _section: None)
    ours = wait_for(lambda: worker_status(url), "an answer").cluster_id
    theirs = nodes.status("n1").cluster_id
    told(nodes.urls["n1"], f"'n3' is of cluster '{ours}', we of '{theirs}'")
    told(url, f"'n3' is of cluster '{ours}', we of '{theirs}'")
    process.close()
    nodes.start("n3")
    nodes.leader()


def test_a_worker_that_lost_its_data_is_filled_again(nodes):
    created = create(nodes, "kept-by-the-others")
    nodes.kill("n3")
    shutil.rmtree(nodes.directory / "n3")
    nodes.start("n3")
    nodes.leader()
    compared = nodes.client.admin(CompareReplicas(10_000))
    assert compared.missing == ()
    assert (sorted(compared.digests), len(set(compared.digests.values()))) == (["n1", "n2", "n3"], 1)
    assert create(nodes, "kept-by-the-others") == created


def test_files_with_different_lists_found_no_cluster_and_every_worker_says_so(tmp_path):
    apart = Cluster(tmp_path)
    path = tmp_path / "n3.yaml"
    document = yaml.safe_load(path.read_text())
    wrong = copy.deepcopy(document)
    wrong["cluster"]["raft"]["peers"] += [f"n4=127.0.0.1:{free_port()}", f"n5=127.0.0.1:{free_port()}"]
    path.write_text(yaml.safe_dump(wrong))
    try:
        apart.start()
        words = "'n3' has another list of members than 'n1'"
        told(apart.urls["n1"], f"127.0.0.1: {words}")
        told(apart.urls["n3"], f"n1: n1 refuses us: {words}")
        found = [wait_for(lambda name=name: apart.status(name), f"{name} to answer") for name in apart.names]
        assert {status.leader_id for status in found} == {None}
        apart.kill("n3")
        path.write_text(yaml.safe_dump(document))
        shutil.rmtree(tmp_path / "n3")
        apart.start("n3")
        apart.leader()
    finally:
        apart.close()


def test_a_file_that_contradicts_itself_is_refused_with_every_reason_by_worker_and_check(tmp_path):
    path = tmp_path / "wrong.yaml"
    raft = {"address": "127.0.0.1:7600", "peers": ["n1=10.0.0.2:7600", "n2=10.0.0.3:7600", "n3=10.0.0.3:7600"]}
    document = {"cluster": {"node_id": "n1", "data_dir": str(tmp_path / "data"), "raft": raft}}
    path.write_text(yaml.safe_dump(document))
    for command in (["chronos_worker", "--config", path], ["cli.chronos", "config", "check", "--config", path]):
        ended = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=30, check=False
        )
        assert ended.returncode == 2
        for sentence in (
            "cluster.raft.peers without cluster.secret: a cluster of several nodes must have one",
            "the cluster has 4 nodes, an even number, which tolerates no more failures than 3: use an odd number",
            "cluster.raft.peers: two members share a node id (list only the other nodes, each once)",
            "cluster.raft.peers: two members share an address",
        ):
            assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()
