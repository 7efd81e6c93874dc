"""What the checks need: containers, the published API, waiting with a bound, and saying what was found."""

# ruff: noqa: INP001, PLR2004, S603, T201 - a program by itself; it runs docker and says what it sees

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

IMAGE = os.environ["CHECK_IMAGE"]
NAME = os.environ["CHECK_NAME"]
"""Begins the name of everything a check makes, so that check.sh finds it to remove it."""
GRACE_S = 60
_POLL_S = 0.2
_T = TypeVar("_T")


class Failed(Exception):
    """A check found something else than it should; the message says what."""


class Unanswered(Exception):
    """The published port gave no HTTP answer."""


def run(*arguments: str, status: int = 0, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    """What a command printed, both streams.

    Raises:
        Failed: it ended with another exit status than the one expected.
    """
    done = subprocess.run(
        arguments,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environ or {})},
        timeout=300,
        check=False,
    )
    if done.returncode != status:
        raise Failed(f"{' '.join(arguments[:6])} … ended with {done.returncode}, not {status}:\n{done.stdout}")
    return done.stdout


def docker(*arguments: str, **how: Any) -> str:
    """What `docker` printed; see `run`."""
    return run("docker", *arguments, **how)


def state(container: str, field: str) -> str:
    """One field of a container's state, by its template."""
    return docker("inspect", "-f", f"{{{{.{field}}}}}", container).strip()


def wait_for(what: str, condition: Callable[[], _T], timeout_s: float = 90.0) -> _T:
    """The first true value of `condition`.

    Raises:
        Failed: there is none in time; names `what`.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"not in {timeout_s:.0f} s: {what}")
        pause.wait(_POLL_S)
    return value


def wait_until_healthy(container: str) -> None:
    """Until the container's own health check says so."""

    def healthy() -> bool:
        check(state(container, "State.Running") == "true", f"{container} has not ended")
        return state(container, "State.Health.Status") == "healthy"

    wait_for(f"{container} to be healthy", healthy)


def check(holds: bool, sentence: str) -> None:
    """Raise Failed with the sentence unless it holds."""
    if not holds:
        raise Failed(f"this does not hold: {sentence}")


def found(sentence: str) -> None:
    """Say what was seen."""
    print(f"  ok  {sentence}", flush=True)


def start_receiver() -> str:
    """A container that takes webhooks on port 9000; its name."""
    name = f"{NAME}-receiver"
    source = Path(__file__).with_name("receiver.py").read_text(encoding="utf-8")
    docker("run", "-d", "--name", name, "--no-healthcheck", "--entrypoint", "python", IMAGE, "-c", source)
    return name


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Api:
    """The API as the published port gives it."""

    def __init__(self, port: int, key: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"} if key else {}

    def ask(self, method: str, path: str, document: object = None, *, timeout_s: float = 30.0) -> tuple[int, Any]:
        """Status and decoded body.

        Raises:
            Unanswered: nobody answers, or not in time.
        """
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._base + path, data, self._headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - loopback
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as problem:
            return problem.code, json.loads(problem.read())
        except OSError as error:
            raise Unanswered(f"{method} {path}: {error}") from error

    def get(self, path: str) -> Any:
        """The body of a successful read.

        Raises:
            Failed: it was not successful.
        """
        status, body = self.ask("GET", path)
        check(status == 200, f"GET {path} answers 200 (it was {status}: {body})")
        return body

    def executions(self, job_id: str) -> list[dict[str, Any]]:
        """The whole ledger of a job, oldest fire time first."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(f"/api/v1/jobs/{job_id}/executions?sort=fire_time&limit=500{cursor}")
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = f"&cursor={page['next_cursor']}"
