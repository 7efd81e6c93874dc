"""Is `docker compose up` a highly available Chronos, whose leader may be killed?"""

# ruff: noqa: INP001, PLR2004, S603, S607 - a program by itself; it runs docker and says what it sees

from __future__ import annotations

import datetime
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

from containers import (
    IMAGE,
    NAME,
    Api,
    Failed,
    Unanswered,
    check,
    docker,
    found,
    free_port,
    run,
    start_receiver,
    state,
    wait_for,
    wait_until_healthy,
)

PROJECT: Final = f"{NAME}-cluster"
FILE: Final = Path(__file__).parents[1] / "compose.yaml"
WORKERS: Final = ("worker-1", "worker-2", "worker-3")
PERIOD_MS: Final = 1_000
BEFORE, AFTER = 5, 15
"""Occurrences to see before the leader is killed, and after it."""
POLL_S: Final = 0.1
FINAL: Final = {"succeeded", "failed", "skipped", "cancelled"}
JOB: Final = {
    "name": "every-second",
    "schedule": "* * * * * *",
    "webhook": {"url": "http://receiver:9000/ok"},
    "concurrency": "allow",
    "misfire": {"policy": "fire_all", "window": "1h", "cap": 1_000},
}
"""Nothing may be left out: not for an overlap, not for being late."""


def main() -> None:
    """The cluster from `up` to `stop`."""
    port, key = free_port(), f"check-{secrets.token_hex(16)}"
    environ = {
        "CHRONOS_IMAGE": IMAGE,
        "CHRONOS_PORT": str(port),
        "CHRONOS_ADMIN_KEY": key,
        "CHRONOS_CLUSTER_SECRET": secrets.token_hex(32),
    }
    compose = Compose(environ)
    compose.needs_a_secret()
    compose("up", "-d")
    containers = {service: compose("ps", "-q", service).strip() for service in (*WORKERS, "api")}
    api = Api(port, key)
    is_complete(api, containers, key)
    receiver = start_receiver()
    docker("network", "connect", "--alias", "receiver", f"{PROJECT}_default", receiver)
    outlives_its_leader(api, containers, receiver)
    compose("stop", "-t", "60")
    statuses = {service: state(container, "State.ExitCode") for service, container in containers.items()}
    check(set(statuses.values()) == {"0"}, f"all containers stop with 0 (they did with {statuses})")
    found("docker compose stop ends every container with 0")


class Compose:
    """Compose, as a plug-in of docker or as a program of its own, with this project's file."""

    def __init__(self, environ: dict[str, str]) -> None:
        plugin = subprocess.run(("docker", "compose", "version"), capture_output=True, check=False)
        program = ("docker-compose",) if plugin.returncode else ("docker", "compose")
        self._command = (*program, "-f", str(FILE), "-p", PROJECT)
        self._environ = environ

    def __call__(self, *arguments: str) -> str:
        """What it printed."""
        return run(*self._command, *arguments, environ=self._environ)

    def needs_a_secret(self) -> None:
        """Nobody gets a cluster without a secret by accident."""
        done = subprocess.run(
            (*self._command, "config"),
            env={**os.environ, **self._environ, "CHRONOS_CLUSTER_SECRET": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        check(
            done.returncode != 0 and "CHRONOS_CLUSTER_SECRET" in done.stderr,
            f"compose refuses to run without CHRONOS_CLUSTER_SECRET and names it (it said {done.stderr!r})",
        )
        found("compose refuses to run without a secret")


def is_complete(api: Api, containers: dict[str, str], key: str) -> None:
    """Three workers, a leader, two API processes; healthy; the key of the environment and no other."""
    for container in containers.values():
        wait_until_healthy(container)
    leader = wait_for("three members and a leader", lambda: leader_of(api, members=3))
    found(f"three workers, led by {leader}; all four containers are healthy")
    processes = docker("top", containers["api"], "-eo", "pid,args").count("chronos_api")
    check(processes == 3, f"gunicorn and its two API processes run behind the port (there are {processes})")
    found("two API processes behind the published port")
    docker("exec", containers["api"], "chronos", "health", "worker", status=1)
    found("chronos health worker says no where there is no worker")
    logs = "".join(docker("logs", container) for container in containers.values())
    check("    chronos_" not in logs and key not in logs, "no log shows a key when CHRONOS_ADMIN_KEY is given")
    found("the key of CHRONOS_ADMIN_KEY is taken and no log shows it")


def leader_of(api: Api, members: int) -> str:
    """The leader's id, once so many workers are ready and one leads with a quorum; empty before."""
    try:
        status, cluster = api.ask("GET", "/api/v1/cluster/status")
    except Unanswered:
        return ""
    check(status in {200, 503}, f"the cluster's status can be read (it answers {status}: {cluster})")
    ready = [worker for worker in cluster.get("workers", ()) if worker["reachable"] and worker["ready"]]
    return cluster["leader"] or "" if len(ready) == members else ""


def outlives_its_leader(api: Api, containers: dict[str, str], receiver: str) -> None:
    """A job every second, the leader killed: no occurrence is missing, and the port answers throughout."""
    status, job = api.ask("POST", "/api/v1/jobs", JOB)
    check(status == 201, f"a job every second is created (it was {status}: {job})")
    wait_for(f"{BEFORE} occurrences", lambda: succeeded(api, job) >= BEFORE)
    leader = wait_for("a leader to kill", lambda: leader_of(api, members=3))
    with Watch(api) as watch:
        docker("kill", "-s", "KILL", containers[leader])
        killed_at = now_ms()
        check(state(containers[leader], "State.ExitCode") == "137", f"{leader} was killed with -9")
        heir = wait_for("another leader", lambda: leader_of(api, members=2), timeout_s=60)
        took_ms = now_ms() - killed_at
        check(heir != leader, f"another leads than the killed {leader}")
        wait_for(f"{AFTER} occurrences after it", lambda: succeeded(api, job, since=killed_at) >= AFTER)
        docker("start", containers[leader])
        wait_for(f"{leader} to be back", lambda: leader_of(api, members=3))
    found(f"{leader} killed with -9: {heir} seen to lead after {took_ms} ms, and {leader} comes back")
    check(not watch.failures, f"every read and /health/live answered 200; these did not: {watch.failures[:5]}")
    found(f"{watch.asked} requests to the API's port meanwhile: all 200, the slowest {watch.slowest_s:.1f} s")
    nothing_is_missing(api, job, receiver)


class Watch:
    """Reads through the API's port on a thread of its own, and notes what does not answer 200."""

    def __init__(self, api: Api) -> None:
        self.asked = 0
        self.slowest_s = 0.0
        self.failures: list[str] = []
        self._api = api
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(POLL_S):
            for path in ("/health/live", "/api/v1/jobs?limit=1"):
                began = time.monotonic()
                try:
                    status, body = self._api.ask("GET", path)
                    failure = "" if status == 200 else f"{path} {status} {body}"
                except Unanswered as error:
                    failure = str(error)
                self.asked += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.failures += [failure] if failure else []


def nothing_is_missing(api: Api, job: dict[str, Any], receiver: str) -> None:
    """End the job; then each of its seconds has one execution, and each of those reached the target."""
    ended = wait_for("the job to be disabled", lambda: disable(api, job["id"]))
    first, until = instant_ms(job["next_fire_time"]), instant_ms(ended["updated_at"])
    executions = wait_for("all executions to end", lambda: all_final(api, job["id"]))
    due = range(first, until - until % PERIOD_MS + 1, PERIOD_MS)
    fired = Counter(instant_ms(execution["fire_time"]) for execution in executions)
    missing = sorted(set(due[:-1]) - set(fired))
    check(not missing, f"every second has its execution; {len(missing)} of {len(due)} are missing: {missing[:10]}")
    check(max(fired.values()) == 1, f"no second has two executions; {fired.most_common(3)}")
    statuses = Counter(execution["status"] for execution in executions)
    check(set(statuses) == {"succeeded"}, f"all succeeded (they are {dict(statuses)})")
    calls = Counter(line.split()[1] for line in docker("logs", receiver).splitlines() if line.startswith("begin "))
    uncalled = [execution["id"] for execution in executions if not calls[execution["id"]]]
    check(not uncalled, f"the target was called for each; not for {uncalled[:5]}")
    strangers = set(calls) - {execution["id"] for execution in executions}
    check(not strangers, f"the target was called for executions of the ledger only; not {sorted(strangers)[:5]}")
    late_ms = max(instant_ms(last_attempt(run)["started_at"]) - instant_ms(run["fire_time"]) for run in executions)
    lost = sum(run["lost_count"] for run in executions)
    repeats = sum(calls.values()) - len(executions)
    found(
        f"{len(executions)} occurrences, one a second: none missing, none twice, all succeeded; "
        f"{lost} attempts died with the leader and began anew under the same id, "
        f"the latest {late_ms} ms late; {repeats} calls were repeats"
    )


def last_attempt(execution: dict[str, Any]) -> dict[str, Any]:
    """The attempt that settled it."""
    attempt: dict[str, Any] = execution["attempts"][-1]
    return attempt


def disable(api: Api, job_id: str) -> Any:
    """The disabled job, or None if the cluster cannot take it just now."""
    status, job = api.ask("POST", f"/api/v1/jobs/{job_id}/disable")
    return job if status == 200 else None


def succeeded(api: Api, job: dict[str, Any], since: int = 0) -> int:
    """How many executions due after an instant have succeeded."""
    return sum(
        execution["status"] == "succeeded" and instant_ms(execution["fire_time"]) > since
        for execution in api.executions(job["id"])
    )


def all_final(api: Api, job_id: str) -> list[dict[str, Any]]:
    """The ledger, once nothing in it is under way."""
    executions = api.executions(job_id)
    return executions if all(execution["status"] in FINAL for execution in executions) else []


def instant_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 text."""
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1_000)


def now_ms() -> int:
    """Milliseconds since the epoch; containers have the machine's clock."""
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    try:
        main()
    except (Failed, Unanswered) as failure:
        sys.exit(f"FAILED  {failure}")
