"""What the programs log, as a process of its own writes it."""

import json
import subprocess
import sys

PROGRAM = """
import structlog
from chronos_common.logs import configure_logging, set_level
configure_logging("warning", {format!r})
log = structlog.get_logger("chronos.test")
log.info("too_low")
log.warning("first", execution_id="e1", api_key="hush")
set_level("debug")
log.debug("second")
set_level("error")
log.warning("too_low")
"""


def logged(form):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(format=form)], capture_output=True, text=True, check=True, timeout=60
    )
    return [line for line in (ended.stdout + ended.stderr).splitlines() if line]


def test_the_level_changes_at_run_time_in_both_directions():
    assert [json.loads(line)["event"] for line in logged("json")] == ["first", "second"]


def test_json_has_one_name_per_fact_and_no_secret():
    first = json.loads(logged("json")[0])
    assert (first["execution_id"], first["level"], first["logger"]) == ("e1", "warning", "chronos.test")
    assert "hush" not in first.values()


def test_the_console_format_holds_the_same_facts():
    first = logged("console")[0]
    assert "first" in first
    assert "execution_id=e1" in first
    assert "hush" not in first
