"""Real workers for tests: in this process on a thread, or as processes of their own."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import requests
import structlog
import yaml

from chronos_common.config import SECRET_FILE, load_config
from chronos_common.protocol import SECRET_HEADER, WorkerStatus, decode
from chronos_worker.data_dir import DataDir
from chronos_worker.settings import settings_from
from chronos_worker.worker import Worker

SECRET = "a secret that only tests use"


_given_ports = set()


def free_port():
    """A port that nobody uses, and that was not given before: it may be still unused when the next is asked for."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def wait_for(condition, what, timeout_s=20.0):
    """The first true value of `condition`; fails with `what` if there is none in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < deadline:
        if value := condition():
            return value
        pause.wait(0.02)
    raise AssertionError(f"not in {timeout_s} s: {what}")


def write_config(directory, name="node-1", **sections):
    """A configuration file of a single node with free ports."""
    document = {
        "cluster": {
            "node_id": name,
            "data_dir": str(directory / name),
            "secret": SECRET,
            "control": {"address": f"127.0.0.1:{free_port()}"},
        },
        "server": {"http": {"address": f"127.0.0.1:{free_port()}", "processes": 1}},
    }
    for section, values in sections.items():
        document[section] = {**document.get(section, {}), **values}
    path = Path(directory) / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.contextmanager
def worker_in_thread(config_path):
    """A worker stepping on a thread of this process; yields (worker, config)."""
    config = load_config(config_path, {})
    data = DataDir(Path(config.cluster.data_dir), config.cluster.node_id)
    worker = Worker(
        settings_from(config, data, SECRET_FILE), data, log=structlog.get_logger(), set_level=lambda _level: None
    )
    failures = []

    def run():
        try:
            worker.run()
        except Exception as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: worker.node.view.ready, "the worker to be ready")
        yield worker, config
    finally:
        worker.stop()
        thread.join(timeout=20)
        worker.close()
        data.close()
    assert not failures, failures


def _limit_files(size):
    """From here on a file that grows beyond `size` bytes fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Process:
    """One program of ours as a process of its own; its output goes to a file."""

    def __init__(self, module, config_path, log_path, *, largest_file=None, prefix=()):
        self.log_path = Path(log_path)
        self._log = self.log_path.open("ab")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CHRONOS_")}
        self.popen = subprocess.Popen(
            [*prefix, sys.executable, "-m", module, "--config", str(config_path)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            # runs between fork and exec, takes no lock
            preexec_fn=None if largest_file is None else partial(_limit_files, largest_file),  # noqa: PLW1509
        )

    def kill(self):
        """As a power cut would: the process and all its children, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(timeout=10)

    def terminate(self, timeout_s=40):
        """As an operator would; returns the exit status."""
        self.popen.terminate()
        return self.popen.wait(timeout=timeout_s)

    def output(self):
        self._log.flush()
        return self.log_path.read_text(errors="replace")

    def close(self):
        if self.popen.poll() is None:
            self.kill()
        self._log.close()


def worker_status(control_url):
    """What a worker says of itself, or None if it does not answer."""
    try:
        answer = requests.get(f"{control_url}/v1/status", headers={SECRET_HEADER: SECRET}, timeout=2)
    except requests.RequestException:
        return None
    return decode(answer.content, WorkerStatus) if answer.ok else None
