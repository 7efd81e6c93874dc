"""The demo: a receiver, forty jobs, and their executions as they arrive.

Uses the API at --server (or CHRONOS_SERVER) if one answers; else starts a node of its own in a temporary directory,
which is gone afterwards. Ctrl-C, or --seconds, ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from receiver import Receiver  # noqa: E402 - found through the line above

from cli.chronosctl.client import Api  # noqa: E402 - as above
from cli.chronosctl.documents import read_documents  # noqa: E402 - as above
from cli.chronosctl.executions import COLUMNS, WIDTHS, News  # noqa: E402 - as above
from cli.chronosctl.failures import CliError  # noqa: E402 - as above
from cli.chronosctl.loading import Change, load  # noqa: E402 - as above
from cli.chronosctl.output import Printer  # noqa: E402 - as above
from cli.chronosctl.session import Session  # noqa: E402 - as above
from cli.chronosctl.settings import DEFAULTS  # noqa: E402 - as above

PATIENCE_S = 60.0
STOP_S = 20.0
ONE_SHOT_AFTER_S = 20
WRITTEN_PORT = "http://127.0.0.1:9000"


def main() -> None:
    """Run the demo; exit status 0 unless it could not begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("CHRONOS_SERVER") or DEFAULTS["server"])
    parser.add_argument("--seconds", type=float, help="End after this long; else at Ctrl-C.")
    parser.add_argument("--port", type=int, default=9000, help="Of the receiver; 0 takes any free one.")
    given = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            run(given.server, given.port, given.seconds)
    except CliError as failure:
        failure.show()
        sys.exit(failure.status)


def run(server: str, port: int, seconds: float | None) -> None:
    """The whole demo."""
    with receiver(port) as target, node(server) as api:
        printer = Printer(colours=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        count = load_jobs(Session(api, printer), target)
        print(f"{count} jobs loaded from examples/jobs.yaml; Swagger UI is at {api.server}/docs")
        print("executions as they arrive (Ctrl-C ends):\n", flush=True)
        watch(api, printer, seconds)


@contextlib.contextmanager
def receiver(port: int) -> Iterator[str]:
    """A receiver that counts in silence; gives its URL."""
    try:
        target = Receiver(port, lambda _line: None)
    except OSError as error:
        raise CliError(
            f"the receiver cannot have port {port}: {error.strerror}", details=("choose another with --port",)
        ) from error
    threading.Thread(target=target.serve_forever, name="receiver", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{target.server_address[1]}"
    finally:
        target.stop()


@contextlib.contextmanager
def node(server: str) -> Iterator[Api]:
    """The API at `server`, or else that of a node of our own."""
    key = os.environ.get("CHRONOS_API_KEY")
    if _listens(server):
        api = Api(server, key)
        api.get("/cluster/status")
        print(f"using the Chronos at {server}")
        yield api
        return
    with tempfile.TemporaryDirectory(prefix="chronos-demo-") as directory:
        print(f"no Chronos at {server}: starting one of our own ...", flush=True)
        with own_node(Path(directory)) as api:
            yield api


@contextlib.contextmanager
def own_node(directory: Path) -> Iterator[Api]:
    """A node with its data below `directory`, stopped in the end."""
    http, raft, control = (f"127.0.0.1:{port}" for port in free_ports(3))
    config = directory / "chronos.yaml"
    config.write_text(
        f"cluster:\n  data_dir: {directory / 'data'}\n  drain_grace: 2s\n  raft: {{address: '{raft}'}}\n"
        f"  control: {{address: '{control}'}}\nserver: {{http: {{address: '{http}', processes: 1}}}}\n"
        "logging: {level: warning, format: json}\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHRONOS_")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "cli.chronos", "--config", str(config)],
            cwd=HERE.parent, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            api = Api(f"http://{http}")
            _wait_until_ready(process, api, directory / "log")
            yield api
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def load_jobs(session: Session, target: str) -> int:
    """Create the jobs, or bring those of an earlier demo up to date; gives how many."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ONE_SHOT_AFTER_S)
    earlier = session.api.pages("/jobs", namespace="default", tag="demo:yes")
    known = {str(job["name"]): str(job["id"]) for job in earlier}
    changes = []
    for document in read_documents([str(HERE / "jobs.yaml")]):
        job = document.body
        job["webhook"]["url"] = job["webhook"]["url"].replace(WRITTEN_PORT, target)
        if str(job.get("schedule")).startswith("@at"):
            job["schedule"] = f"@at {soon:%Y-%m-%dT%H:%M:%SZ}"
        known_id = known.get(job["name"])
        changes.append(Change("update" if known_id else "create", job["name"], document.source, known_id, job))
    for outcome in load(session, changes):
        if outcome.failure is not None:
            raise outcome.failure
    return len(changes)


def watch(api: Api, printer: Printer, seconds: float | None) -> None:
    """Print executions until the time is over, then how many ended how."""
    news = News(api, "/executions", {"since": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"})
    ends_at = None if seconds is None else time.monotonic() + seconds
    last: dict[str, str] = {}
    printer.line({name: head for head, name in COLUMNS}, COLUMNS, WIDTHS)
    try:
        while ends_at is None or time.monotonic() < ends_at:
            for item in news.look():
                last[item["id"]] = item["status"]
                printer.line(item, COLUMNS, WIDTHS)
            time.sleep(0.5)
    finally:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(last.values()).items()))
        print(f"\n{len(last)} executions: {counts or 'none'}", flush=True)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _listens(server: str) -> bool:
    url = urlsplit(server)
    try:
        with socket.create_connection((url.hostname or "127.0.0.1", url.port or 80), timeout=2):
            return True
    except OSError:
        return False


def _wait_until_ready(process: subprocess.Popen[bytes], api: Api, log: Path) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with contextlib.suppress(CliError):
            if api.get("/cluster/status")["has_quorum"]:
                return
        time.sleep(0.2)
    lines = log.read_text(errors="replace").splitlines()[-10:]
    raise CliError("the node of the demo did not come up", details=tuple(lines))


if __name__ == "__main__":
    main()
