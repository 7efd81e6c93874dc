"""What the Tab key gets."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from cli.chronosctl.suggesting import WAIT_S

ID = "01a20971-f294-7c0a-b6e8-e271c2024d3e"


def tab(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Complete the last word, as the script for bash asks for it."""
    asked = {
        "_CHRONOSCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("chronosctl", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return subprocess.run(
        [sys.executable, "-m", "cli.chronosctl"], env={**os.environ, **asked, **environ},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_names_of_jobs_are_asked_of_the_server_with_its_key(api, page_of, make_job):
    api.on("GET", "/jobs", 200, page_of(make_job("daily"), make_job("daily-report", 2)))
    ended = tab("--server", api.url, "job", "trigger", "-n", "ops", "dai", CHRONOS_API_KEY="k")
    assert ended.stdout.split() == ["plain,daily", "plain,daily-report"]
    assert api.calls[0].query["name_prefix"] == ["dai"]
    assert api.calls[0].query["namespace"] == ["ops"]
    assert api.calls[0].headers["authorization"] == "Bearer k"


def test_ids_of_executions_are_those_that_begin_so(api, page_of):
    other = "02" + ID[2:]
    found = [{"id": given, "job_name": "daily", "status": "running"} for given in (ID, other)]
    api.on("GET", "/executions", 200, page_of(*found))
    assert tab("execution", "cancel", "01A", CHRONOS_SERVER=api.url).stdout.split() == [f"plain,{ID}"]


@pytest.mark.parametrize(
    ("status", "answer"), [(401, {"code": "unauthenticated"}), (503, {"code": "unavailable"}), (200, ["strange"])]
)
def test_a_server_that_is_of_no_help_gives_no_word(api, status, answer):
    api.on("GET", "/jobs", status, answer, Retry_After="1")
    ended = tab("job", "get", "x", CHRONOS_SERVER=api.url)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")
    assert len(api.calls) == 1


def test_no_server_at_all_gives_no_word_soon():
    begun = time.monotonic()
    ended = tab("job", "get", "x", CHRONOS_SERVER="http://127.0.0.1:1")
    assert (ended.stdout.strip(), ended.stderr) == ("", "")
    assert time.monotonic() - begun < WAIT_S + 20


def test_settings_that_cannot_be_used_give_no_word(tmp_path):
    (tmp_path / "chronos").mkdir()
    (tmp_path / "chronos" / "config.yaml").write_text("- broken\n")
    ended = tab("job", "get", "x", XDG_CONFIG_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")
