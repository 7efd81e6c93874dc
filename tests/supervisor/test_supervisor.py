"""The supervisor with real child processes, which note what befalls them."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.chronos.child import Program
from cli.chronos.restarts import Restarts
from cli.chronos.supervisor import CANNOT_RUN, KILLED, Supervisor
from tests.support.processes import wait_for

STAND_IN = Path(__file__).with_name("stand_in.py")
NO_PAUSE = {"first_s": 0.0, "longest_s": 0.0}


class Log:
    """Keeps events; `on` names what to do when one comes."""

    def __init__(self, **on):
        self.events = []
        self._on = on

    def _note(self, event, **facts):
        self.events.append((event, facts))
        self._on.get(event, lambda **_: None)(**facts)

    info = warning = error = _note

    def named(self, event):
        return [facts for name, facts in self.events if name == event]


def program(directory, name, how="serve", grace_s=20.0, **more):
    ready = directory / f"{name}.ready"
    argv = (sys.executable, "-I", str(STAND_IN), str(directory), name, how)
    return Program(name, argv, ready.exists, grace_s, **more)


def stop(**_):
    os.kill(os.getpid(), signal.SIGTERM)


def run(programs, log=None, announce=stop):
    return Supervisor(programs, environ=os.environ, log=log or Log(), announce=announce).run()


def journal(directory):
    return (directory / "journal").read_text().splitlines()


def test_programs_start_in_order_and_end_in_the_opposite_order(tmp_path):
    assert run([program(tmp_path, "worker"), program(tmp_path, "api")]) == 0
    assert journal(tmp_path) == ["worker started", "api started", "api told to end", "worker told to end"]


def test_ctrl_c_drains_as_sigterm_does(tmp_path):
    assert run([program(tmp_path, "worker")], announce=lambda: os.kill(os.getpid(), signal.SIGINT)) == 0
    assert journal(tmp_path) == ["worker started", "worker told to end"]


def test_what_a_program_needs_is_prepared_before_each_of_its_starts(tmp_path):
    prepared = []
    worker = program(tmp_path, "worker")
    api = program(tmp_path, "api", prepare=lambda: prepared.append(journal(tmp_path)))
    assert run([worker, api]) == 0
    assert prepared == [["worker started"]]


def test_a_killed_program_is_started_again_and_the_others_run_on(tmp_path):
    seen = []

    def stop_in_the_second_life(program, pid):
        seen.append(program)
        if seen.count("worker") == 2:
            stop()

    log = Log(program_started=stop_in_the_second_life)
    worker = program(tmp_path, "worker", restarts=Restarts(**NO_PAUSE))
    api = program(tmp_path, "api")

    def kill_worker():
        os.kill(int((tmp_path / "worker.ready").read_text()), signal.SIGKILL)

    assert run([worker, api], log, announce=kill_worker) == 0
    assert seen == ["worker", "api", "worker"]
    assert log.named("program_ended") == [{"program": "worker", "status": 137, "restart_in_s": 0.0}]
    assert journal(tmp_path).count("api started") == 1


def test_a_program_that_dies_again_and_again_is_given_up_with_its_status(tmp_path):
    log = Log()
    broken = program(tmp_path, "api", "exit=9", restarts=Restarts(**NO_PAUSE, limit=3))
    assert run([program(tmp_path, "worker"), broken], log) == 9
    assert journal(tmp_path) == ["worker started", *["api started"] * 4, "worker told to end"]
    assert [facts["status"] for facts in log.named("program_given_up")] == [9]


@pytest.mark.parametrize("status", [2, 3, 4])
def test_a_refusal_is_not_tried_again(tmp_path, status, capfd):
    assert run([program(tmp_path, "worker", f"exit={status}")]) == status
    assert journal(tmp_path) == ["worker started"]
    assert "worker says why" in capfd.readouterr().err


def test_a_program_that_outlasts_its_grace_is_killed_and_the_status_says_so(tmp_path):
    log = Log()
    assert run([program(tmp_path, "worker", "stubborn", grace_s=0.0)], log) == KILLED
    assert log.named("program_killed") == [{"program": "worker"}]


def test_a_second_request_to_stop_ends_everything_at_once(tmp_path):
    log = Log(program_draining=stop)
    assert run([program(tmp_path, "worker", "stubborn", grace_s=60.0)], log) == KILLED
    assert log.named("program_killed") == [{"program": "worker"}]


def test_a_program_the_machine_cannot_run_is_named(tmp_path):
    log = Log()
    missing = Program("worker", (str(tmp_path / "missing"),), lambda: False, 1.0)
    assert run([missing], log) == CANNOT_RUN
    assert "missing" in log.named("program_given_up")[0]["reason"]


DRIVER = """
import ctypes, os, pathlib, signal, sys
from tests.supervisor.test_supervisor import Log, program, run
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # what is orphaned below this process becomes its child
directory = pathlib.Path(sys.argv[1])
run([program(directory, "worker", sys.argv[2])], announce=lambda: (directory / "announced").touch())
"""


@contextlib.contextmanager
def driven(directory, how):
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(directory), how], stdin=subprocess.DEVNULL) as process:
        try:
            wait_for((directory / "announced").exists, "the announcement")
            yield process
        finally:
            process.kill()


def test_a_supervisor_that_dies_without_a_word_takes_its_programs_along(tmp_path):
    with driven(tmp_path, "serve") as supervisor:
        supervisor.kill()
        wait_for(lambda: "worker told to end" in journal(tmp_path), "the program to be told")


def test_processes_orphaned_below_it_are_collected(tmp_path):
    with driven(tmp_path, "orphaning"):
        orphan = tmp_path / "orphan"
        pid = wait_for(lambda: orphan.exists() and orphan.read_text(), "the orphan to say who it is")
        wait_for(lambda: not Path("/proc", pid).exists(), "the orphan to be collected")
