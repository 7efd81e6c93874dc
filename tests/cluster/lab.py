"""What a campaign works on: three workers, each on its host if there may be hosts, one API, one sink."""

import contextlib
import subprocess

import yaml

from tests.cluster.network import Network, NotPermitted
from tests.support.cluster import Cluster
from tests.support.processes import SECRET, Process, free_port, wait_for
from tests.support.sink import sink

SMALL_DISK = "n3"
"""The worker whose disk may be filled."""
_NAMES = ("n1", "n2", "n3")
_READY_S = 90
_DRAIN_S = 60


class Lab:
    """The cluster and its surroundings. `lacking` says what this machine does not permit, and what that skips."""

    def __init__(self, directory, network, disk, target, lacking):
        self.directory = directory
        self.network = network
        self.disk = disk
        self.sink = target
        self.lacking = lacking
        hosts, prefixes = (network.hosts, network.prefixes) if network else (None, None)
        self.cluster = Cluster(directory, hosts=hosts, prefixes=prefixes)
        self.api_port = free_port()

    def start(self):
        """Start everything; returns when it is at work."""
        self.cluster.start()
        self.ready()
        document = {
            "cluster": {"node_id": "api", "data_dir": str(self.directory / "api"), "secret": SECRET},
            "server": {"http": {"address": f"127.0.0.1:{self.api_port}"}},
            "api": {"workers": list(self.cluster.urls.values())},
        }
        path = self.directory / "api.yaml"
        path.write_text(yaml.safe_dump(document))
        self.api = Process("chronos_api", path, self.directory / "api.log")

    def ready(self):
        """The leader, once all three are at work under it. A worker that ended by itself is a failure."""

        def look():
            ended = [name for name, process in self.cluster.processes.items() if process.popen.poll() is not None]
            if ended:
                process = self.cluster.processes[ended[0]]
                raise AssertionError(f"{ended} ended, status {process.popen.returncode}\n{process.output()[-3_000:]}")
            statuses = [self.cluster.status(name) for name in _NAMES]
            leaders = [each.node_id for each in statuses if each and each.role == "leader" and each.has_quorum]
            return leaders[0] if len(leaders) == 1 and all(each and each.ready for each in statuses) else None

        return wait_for(look, "one leader, and every worker at work", timeout_s=_READY_S)

    def replaced(self):
        """The leader, once there is one; whoever is starting need not be back."""

        def look():
            statuses = [self.cluster.status(name) for name in _NAMES]
            leaders = [each.node_id for each in statuses if each and each.role == "leader" and each.has_quorum]
            return leaders[0] if leaders else None

        return wait_for(look, "a new leader", timeout_s=_READY_S)

    def restart(self, name, largest_file=None):
        """Drain a worker as an operator would, and start it again."""
        process = self.cluster.processes.pop(name)
        process.terminate(_DRAIN_S)
        process.close()
        self.cluster.start(name, largest_file=largest_file)

    def database(self, name):
        """A worker's replica."""
        return self.directory / name / "chronos.sqlite3"

    @property
    def databases(self):
        """All replicas."""
        return [self.database(name) for name in _NAMES]

    def close(self):
        """Kill what still runs."""
        self.cluster.close()
        if api := getattr(self, "api", None):
            api.close()


@contextlib.contextmanager
def _small_disk(path, lacking):
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "chronos-chaos", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        lacking.append(f"no small disk, a limit on the size of files takes its place: {done.stderr.splitlines()[0]}")
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], timeout=10, check=True)


@contextlib.contextmanager
def lab(directory):
    """Everything running in an empty directory; gone at the end, but for the files."""
    lacking = []
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(contextlib.closing(Network(_NAMES)))
        except NotPermitted as refused:
            network = None
            lacking.append(f"no network namespaces, so no cut, loss or delay: {refused}")
        disk = stack.enter_context(_small_disk(directory / SMALL_DISK, lacking))
        target = stack.enter_context(sink(network.ours if network else "127.0.0.1"))
        made = Lab(directory, network, disk, target, lacking)
        stack.callback(made.close)
        made.start()
        yield made
