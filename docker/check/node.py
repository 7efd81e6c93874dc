"""Is the image alone a working node, as `docker run -p 8080:8080 -v VOLUME:/data IMAGE` promises?"""

# ruff: noqa: INP001, PLR2004 - a program by itself; it runs docker and says what it sees

from __future__ import annotations

import json
import re
import sys
from typing import Any

from containers import (
    GRACE_S,
    IMAGE,
    NAME,
    Api,
    Failed,
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

NODE = f"{NAME}-node"
VOLUME = f"{NAME}-node-data"
KEY = re.compile(r"^ {4}(chronos_\S+)$", re.MULTILINE)


def main() -> None:
    """One node from its first start to its third."""
    receiver = start_receiver()
    target = f"http://{state(receiver, 'NetworkSettings.IPAddress')}:9000"
    port = free_port()
    key = first_start(port)
    api = Api(port, key)
    webhook_is_called(key, target, receiver)
    restart(api, key)
    execution_id = stop_while_busy(key, target, receiver)
    third_start(port, key, execution_id)
    docker("rm", "-f", "-v", NODE, receiver)


def start(port: int) -> None:
    """The command of the documents, on another port."""
    docker("run", "-d", "--name", NODE, "-p", f"{port}:8080", "-v", f"{VOLUME}:/data", IMAGE)
    wait_until_healthy(NODE)


def first_start(port: int) -> str:
    """The key that the log shows, after seeing that it is one, the only one, and kept as a hash only."""
    start(port)
    found("a node from the image alone is healthy")
    keys = KEY.findall(docker("logs", NODE))
    check(len(keys) == 1, f"the log shows one key (it shows {len(keys)})")
    key: str = keys[0]
    check(Api(port, "").ask("GET", "/api/v1/jobs")[0] == 401, "without a key, the published port answers 401")
    check(Api(port, key[:-1]).ask("GET", "/api/v1/jobs")[0] == 401, "with a part of the key it answers 401")
    check(Api(port, key).ask("GET", "/api/v1/jobs")[0] == 200, "with the key it answers 200")
    found("its log shows an API key, which the published port asks for and takes")
    docker("exec", NODE, "grep", "-rqF", "sha256:", "/data")
    docker("exec", NODE, "grep", "-rqF", key, "/data", status=1)
    found("/data holds the key's hash, and the key in no file")
    user = docker("exec", NODE, "id", "-u").strip()
    check(user not in {"", "0"}, f"it does not run as root (id -u says {user!r})")
    found(f"it runs as user {user}")
    return key


def control(key: str, *arguments: str, text: str = "") -> Any:
    """What chronosctl in the container answers, as JSON."""
    said = run(
        "docker", "exec", "-i", "-e", "CHRONOS_API_KEY", NODE, "chronosctl", *arguments, "-o", "json",
        text=text, environ={"CHRONOS_API_KEY": key},
    )  # fmt: skip
    return json.loads(said)


def create(key: str, name: str, url: str) -> None:
    """A job that runs when triggered."""
    control(key, "job", "create", "-f", "-", text=json.dumps({"name": name, "webhook": {"url": url}}))


def webhook_is_called(key: str, target: str, receiver: str) -> None:
    """A job, triggered, reaches its target."""
    create(key, "called", f"{target}/ok")
    execution = control(key, "job", "trigger", "called", "--wait")
    check(execution["status"] == "succeeded", f"the execution succeeded (it is {execution['status']})")
    calls = docker("logs", receiver).count(f"end {execution['id']} /ok")
    check(calls == 1, f"the receiver was called once (it was called {calls} times)")
    found("a job made with that key and triggered with --wait succeeds, and its target was called once")


def restart(api: Api, key: str) -> None:
    """The same container again: its log goes on."""
    docker("restart", "-t", str(GRACE_S), NODE)
    wait_until_healthy(NODE)
    check([job["name"] for job in api.get("/api/v1/jobs")["items"]] == ["called"], "the job is still there")
    said = docker("logs", NODE)
    check(said.count("is running: node") == 2, "the log shows two starts")
    check(said.count(key) == 1, "the log shows the key once")
    found("restarted, it has its job, takes the same key and does not show it again")


def stop_while_busy(key: str, target: str, receiver: str) -> str:
    """Stop it while a request is under way; the id of that execution."""
    create(key, "slow", f"{target}/slow")
    execution_id: str = control(key, "job", "trigger", "slow")["id"]
    wait_for("the slow request to begin", lambda: f"begin {execution_id}" in docker("logs", receiver))
    check(f"end {execution_id}" not in docker("logs", receiver), "the slow request is under way at docker stop")
    docker("stop", "-t", str(GRACE_S), NODE)
    status = state(NODE, "State.ExitCode")
    check(status == "0", f"docker stop ends it with 0 (it was {status})")
    check(f"end {execution_id}" in docker("logs", receiver), "the request under way was waited for")
    found("docker stop waits for the request under way and ends with 0")
    return execution_id


def third_start(port: int, key: str, execution_id: str) -> None:
    """Another container on the same volume."""
    docker("rm", NODE)
    start(port)
    said = docker("logs", NODE)
    check(key not in said and not KEY.search(said), "a new container on the same volume shows no key")
    execution = Api(port, key).get(f"/api/v1/executions/{execution_id}")
    seen = (execution["status"], execution["attempt_count"])
    check(seen == ("succeeded", 1), f"what docker stop waited for succeeded at the first attempt (it is {seen})")
    found(
        "a new container on that volume goes on: no new key, and the drained execution succeeded at its first attempt"
    )


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"FAILED  {failure}")
