"""`docker/compose.yaml` and the image's defaults, read as the programs in the containers read them."""

import re
from pathlib import Path

import pytest
import yaml

from chronos_common.config import load_config

DOCKER = Path(__file__).parents[2] / "docker"
SECRET = "a secret of the tests"


@pytest.fixture
def image_environ(tmp_path):
    """The variables of ours that the image sets; its data directory stands elsewhere."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    set_there = dict(re.findall(r"(CHRONOS_\w+)=(\S+)", text.split("ENV PATH", 1)[1]))
    assert set_there["CHRONOS_CLUSTER_DATA_DIR"] == "/data"
    return {**set_there, "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path)}


@pytest.fixture
def configs(image_environ):
    """What each service of the compose file runs on."""
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{CHRONOS_CLUSTER_SECRET:\?[^}]*}", SECRET, text)
    text = re.sub(r"\$\{\w+:-([^}]*)}", r"\1", text)
    services = yaml.safe_load(text)["services"]
    return {
        name: load_config(None, {**image_environ, **service["environment"]}) for name, service in services.items()
    }


def test_the_image_alone_listens_on_every_address_and_makes_a_key(image_environ):
    config = load_config(None, image_environ)
    assert config.server.http.address == "0.0.0.0:8080"
    assert config.auth.mode == "keys"
    assert config.auth.bootstrap
    assert not config.cluster.raft.peers


def test_the_three_workers_of_the_compose_file_agree_on_who_they_are(configs):
    workers = [config for name, config in configs.items() if name.startswith("worker-")]
    members = {config.cluster.node_id: config.cluster.raft.advertise for config in workers}
    assert len(members) == 3
    for config in workers:
        others = {peer.id: peer.address for peer in config.cluster.raft.peers}
        assert others | {config.cluster.node_id: config.cluster.raft.advertise} == members
        assert config.cluster.secret == SECRET


def test_the_two_api_processes_know_every_worker(configs):
    workers = {config.cluster.control.advertise for name, config in configs.items() if name != "api"}
    api = configs["api"]
    assert {url.removeprefix("http://") for url in api.api.workers} == workers
    assert api.server.http.processes == 2
    assert api.cluster.secret == SECRET
    assert api.auth.bootstrap
