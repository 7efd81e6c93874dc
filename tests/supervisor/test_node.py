"""The whole node as an operator meets it: `chronos` with the real worker and the real API."""

import os
import re
import signal
import subprocess
import sys

import pytest
import requests
import yaml
from click.testing import CliRunner

from cli.chronos.main import chronos
from tests.support.processes import free_port, wait_for, write_config


class Node:
    """`chronos` as a process of its own, with nothing of this process's environment."""

    def __init__(self, log_path, *arguments, **environ):
        self.log_path = log_path
        with log_path.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "cli.chronos", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if "CHRONOS" not in name} | environ,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.wait(timeout=60)

    def said(self):
        return self.log_path.read_text()

    def wait_for_text(self, text):
        def found():
            assert self.popen.poll() is None or text in self.said(), self.said()
            return text in self.said()

        wait_for(found, f"{text!r} in the output", timeout_s=60)

    def pid_of(self, name):
        return int(re.findall(rf"program_started .*pid=(\d+) program={name}", self.said())[-1])

    def interrupt(self):
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(timeout=60)


def health(path, part):
    """Exit status of the command that a container's health check runs."""
    return CliRunner().invoke(chronos, ["--config", str(path), "health", part]).exit_code


def base_of(path):
    return "http://" + yaml.safe_load(path.read_text())["server"]["http"]["address"]


def test_a_node_starts_says_where_it_is_survives_a_killed_worker_and_drains(tmp_path):
    path = write_config(tmp_path)
    base = base_of(path)
    job = {"name": "kept", "schedule": None, "webhook": {"url": "http://127.0.0.1:9/"}}
    with Node(tmp_path / "first.log", "--config", str(path)) as node:
        node.wait_for_text("Ctrl-C drains and stops.")
        assert f"{base}/docs" in node.said()
        assert requests.get(f"{base}/docs", timeout=20).ok
        assert requests.post(f"{base}/api/v1/jobs", json=job, timeout=20).status_code == 201
        os.kill(node.pid_of("worker"), signal.SIGKILL)
        wait_for(lambda: node.said().count("program=worker") >= 3, "the worker to be started again")
        wait_for(lambda: requests.get(f"{base}/health", timeout=20).json()["status"] == "ok", "the node to be well")
        assert requests.get(f"{base}/api/v1/jobs", timeout=20).json()["items"][0]["name"] == "kept"
        assert node.interrupt() == 0
        said = node.said()
    assert said.index("program_draining") < said.index("worker_stopped")
    assert "Traceback" not in said
    with pytest.raises(requests.ConnectionError):
        requests.get(base, timeout=5)


def test_a_node_others_can_reach_makes_a_key_at_its_first_start_only(tmp_path):
    path = write_config(tmp_path)
    base = base_of(path)
    environ = {
        "CHRONOS_SERVER_HTTP_ADDRESS": base.replace("http://127.0.0.1", "0.0.0.0"),
        "CHRONOS_AUTH_BOOTSTRAP": "true",
    }
    with Node(tmp_path / "first.log", "--config", str(path), **environ) as node:
        node.wait_for_text("Ctrl-C drains and stops.")
        key = re.search(r"^    (chronos_\S+)$", node.said(), re.MULTILINE)[1]
        status = requests.get(f"{base}/api/v1/cluster/status", headers={"X-API-Key": key}, timeout=20)
        assert status.status_code == 200
        assert requests.get(f"{base}/api/v1/jobs", timeout=20).status_code == 401
        assert node.interrupt() == 0
    with Node(tmp_path / "second.log", "--config", str(path), **environ) as node:
        node.wait_for_text("Ctrl-C drains and stops.")
        assert "chronos_" not in node.said().replace("chronos_api", "").replace("chronos_worker", "")
        assert requests.get(f"{base}/api/v1/jobs", headers={"X-API-Key": key}, timeout=20).status_code == 200


def test_a_directory_of_another_node_ends_it_with_the_reason_and_the_status(tmp_path):
    path = write_config(tmp_path)
    directory = tmp_path / "node-1"
    directory.mkdir()
    (directory / "node_id").write_text("somebody-else")
    with Node(tmp_path / "log", "--config", str(path)) as node:
        assert node.popen.wait(timeout=60) == 3
        assert "belongs to node 'somebody-else', this is 'node-1'" in node.said()
        assert "Traceback" not in node.said()


def test_worker_and_api_run_alone_for_a_split_deployment(tmp_path):
    path = write_config(tmp_path)
    base = base_of(path)
    with (
        Node(tmp_path / "worker.log", "worker", "--config", str(path)) as worker,
        Node(tmp_path / "api.log", "--config", str(path), "api", CHRONOS_CLUSTER_DATA_DIR=str(tmp_path)),
    ):

        def healthy():
            try:
                return requests.get(f"{base}/health", timeout=20).json()["status"] == "ok"
            except requests.ConnectionError:
                return False

        wait_for(healthy, "the API to find the worker", timeout_s=60)
        assert health(path, "worker") == health(path, "api") == 0
        worker.popen.terminate()
        assert worker.popen.wait(timeout=60) == 0
        assert (health(path, "worker"), health(path, "api")) == (1, 0)
        answer = requests.post(f"{base}/api/v1/jobs", json={}, timeout=60)
        assert answer.status_code in (422, 503)
        assert requests.get(f"{base}/health", timeout=20).json()["status"] == "unavailable"


def test_a_disk_that_takes_nothing_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    environ = {
        "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path / "file"),
        "CHRONOS_SERVER_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "CHRONOS_CLUSTER_CONTROL_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    with Node(tmp_path / "log", **environ) as node:
        assert node.popen.wait(timeout=60) in (2, 3)
        assert f"{tmp_path}/file" in node.said()
        assert "Traceback" not in node.said()
