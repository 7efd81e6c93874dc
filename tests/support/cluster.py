"""Three workers as processes, on loopback if nothing else is said, with everything a test may do to them."""

import contextlib

import yaml

from chronos_api.cluster_client import ClusterClient
from tests.support.processes import SECRET, Process, free_port, wait_for, worker_status


class Cluster:
    """Workers n1, n2, n3 ... of one cluster.

    `hosts` gives the address of each, `prefixes` the command that puts it on its host, `settings` more of the
    configuration's section `cluster`.
    """

    def __init__(self, directory, size=3, *, hosts=None, prefixes=None, **settings):
        self.directory = directory
        self.settings = settings
        self._prefixes = prefixes or {}
        self.names = [f"n{number}" for number in range(1, size + 1)]
        hosts = hosts or dict.fromkeys(self.names, "127.0.0.1")
        self.raft = {name: f"{hosts[name]}:{free_port()}" for name in self.names}
        self.control = {name: f"{hosts[name]}:{free_port()}" for name in self.names}
        self.urls = {name: f"http://{address}" for name, address in self.control.items()}
        for name in self.names:
            self._configure(name, self.names)
        self.processes = {}
        self.client = ClusterClient(self.urls.values(), SECRET)

    def join(self, name, members):
        """Start an empty node whose configuration names these members beside itself."""
        self.raft[name] = f"127.0.0.1:{free_port()}"
        self.control[name] = f"127.0.0.1:{free_port()}"
        self.urls[name] = f"http://{self.control[name]}"
        self._configure(name, members)
        self.start(name)

    def _configure(self, name, members):
        document = {
            "cluster": {
                "node_id": name,
                "data_dir": str(self.directory / name),
                "secret": SECRET,
                "node_grace": "3s",
                "raft": {
                    "address": self.raft[name],
                    "peers": [{"id": peer, "address": self.raft[peer]} for peer in members if peer != name],
                },
                "control": {"address": self.control[name]},
                **self.settings,
            },
            "api": {"workers": list(self.urls.values())},
            "logging": {"format": "json"},
        }
        (self.directory / f"{name}.yaml").write_text(yaml.safe_dump(document))

    def start(self, *names, largest_file=None):
        for name in names or self.names:
            log, prefix = self.directory / f"{name}.log", self._prefixes.get(name, ())
            self.processes[name] = Process(
                "chronos_worker", self.directory / f"{name}.yaml", log, largest_file=largest_file, prefix=prefix
            )

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.close()

    def drain(self, name):
        """Stop a node as an operator would; its exit status."""
        process = self.processes.pop(name)
        try:
            return process.terminate()
        finally:
            process.close()

    def status(self, name):
        return worker_status(self.urls[name])

    def leader(self, timeout_s=30):
        """The name of the one leader that has a quorum, once there is one and every running node is at work."""

        def look():
            statuses = [self.status(name) for name in self.processes]
            if not all(status and status.ready for status in statuses):
                return None
            leaders = [status.node_id for status in statuses if status.role == "leader" and status.has_quorum]
            return leaders[0] if len(leaders) == 1 else None

        return wait_for(look, "one leader, and every node at work", timeout_s=timeout_s)

    def close(self):
        for process in self.processes.values():
            process.close()


@contextlib.contextmanager
def cluster(directory, size=3, **settings):
    running = Cluster(directory, size, **settings)
    try:
        running.start()
        yield running
    finally:
        running.close()
