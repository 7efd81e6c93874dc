"""The API as users start it: gunicorn's processes in front of a worker's process."""

import contextlib
import re
import socket

import pytest
import requests
import yaml

from tests.support.processes import Process, free_port, wait_for, write_config

REQUESTS = 12


def answers(url):
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


@contextlib.contextmanager
def program(module, config, log):
    process = Process(module, config, log)
    try:
        yield process
    finally:
        process.close()


def http_config(directory, **http):
    address = f"127.0.0.1:{free_port()}"
    return write_config(directory, server={"http": {"address": address, "processes": 2, **http}})


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    config = http_config(directory)
    base = "http://" + yaml.safe_load(config.read_text())["server"]["http"]["address"]
    with (
        program("chronos_worker", config, directory / "worker.log") as worker,
        program("chronos_api", config, directory / "api.log") as api,
    ):
        wait_for(lambda: answers(f"{base}/health/ready"), "the API to be ready")
        yield base, api, worker


def counted(base):
    text = requests.get(f"{base}/metrics", timeout=5).text
    lines = re.findall(r'chronos_api_http_request_duration_seconds_count\{.*"/api/v1/jobs"\} (\S+)', text)
    return sum(map(float, lines))


def test_the_metrics_of_all_processes_are_added_up(serving):
    base, _, _ = serving
    before = counted(base)
    for _ in range(REQUESTS):
        assert requests.get(f"{base}/api/v1/jobs", timeout=5).status_code == 200
    assert counted(base) == before + REQUESTS


def test_a_taken_port_is_named(serving, tmp_path):
    base, _, _ = serving
    config = http_config(tmp_path, address=base.removeprefix("http://"))
    with program("chronos_api", config, tmp_path / "api.log") as second:
        assert second.popen.wait(timeout=30) != 0
        assert base.rpartition(":")[2] in second.output()
        assert "in use" in second.output()
        assert "Traceback" not in second.output()


def test_an_open_address_without_keys_is_refused_before_it_listens(tmp_path):
    config = http_config(tmp_path, address=f"0.0.0.0:{free_port()}")
    with program("chronos_api", config, tmp_path / "api.log") as api:
        assert api.popen.wait(timeout=30) == 2
        assert "auth.mode: none" in api.output()
        assert "Traceback" not in api.output()


def test_an_api_asked_to_stop_stops_cleanly_and_frees_its_port(serving):
    base, api, _ = serving
    assert api.terminate() == 0
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect((host, int(port)))
    assert "Traceback" not in api.output()
