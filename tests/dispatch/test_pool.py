"""The pool with real child processes."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chronos_common.models import AttemptStatus, BearerAuth
from chronos_worker.dispatch import BreakerSettings, DispatchPool, DispatchSettings, PoolFull, send_once
from chronos_worker.dispatch.request import MASK
from tests.dispatch.making import delivery, execution_id


class Warnings(list):
    """A log that keeps what it was told."""

    def warning(self, event, **facts):
        self.append((event, facts))


class Node:
    """What a node does with a pool, and nothing else."""

    def __init__(self, settings, now_s=time.monotonic):
        self.news = threading.Event()
        self.log = Warnings()
        self.pool = DispatchPool(settings, wake=self.news.set, log=self.log, now_s=now_s)
        self.pool.start()

    def results(self, count=1, within_s=20.0):
        found = []
        deadline = time.monotonic() + within_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} results in time"
            self.news.wait(0.05)
            self.news.clear()
            found += self.pool.collect()
        return found

    def send(self, *deliveries):
        self.pool.submit(deliveries)
        return self.results(len(deliveries))


@pytest.fixture
def node_with():
    nodes = []

    def make(now_s=time.monotonic, **settings):
        nodes.append(Node(DispatchSettings(**settings), now_s))
        return nodes[-1]

    yield make
    for node in nodes:
        node.pool.close()


@pytest.fixture
def node(node_with):
    return node_with()


def many(url, count, first=0):
    return [delivery(url, number=number) for number in range(first, first + count)]


def test_each_delivery_gets_exactly_one_result(node_with, receiver):
    node = node_with(processes=2)
    results = node.send(*many(receiver.url("/ok"), 500))
    assert {each.execution_id for each in results} == {execution_id(number) for number in range(500)}
    assert {each.status for each in results} == {AttemptStatus.SUCCEEDED}
    assert node.pool.in_flight == 0
    assert node.pool.collect() == []


def test_the_wake_callback_announces_results(node, receiver):
    node.pool.submit([delivery(receiver.url("/ok"))])
    assert node.news.wait(10)
    assert len(node.results()) == 1


def test_a_known_attempt_is_not_sent_twice(node, receiver):
    once = delivery(receiver.url("/hold"))
    node.pool.submit([once, once])
    node.pool.submit([once])
    receiver.wait_for(lambda seen: len(seen.requests) == 1)
    assert node.pool.in_flight == 1
    receiver.released.set()
    node.results()
    assert len(receiver.requests) == 1


def test_beyond_its_seats_it_takes_nothing(node_with, receiver):
    node = node_with(seats=3)
    node.pool.submit(many(receiver.url("/hold"), 2))
    with pytest.raises(PoolFull, match="2 deliveries for 1 free seats"):
        node.pool.submit(many(receiver.url("/hold"), 2, first=2))
    assert (node.pool.in_flight, node.pool.free_seats) == (2, 1)
    receiver.released.set()
    assert len(node.results(2)) == 2
    assert node.pool.free_seats == 3


def test_a_burst_larger_than_the_pipe_arrives_whole(node_with, receiver):
    node = node_with()
    body = "b" * 20_000
    results = node.send(*(delivery(receiver.url("/ok"), number=n, method="POST", body=body) for n in range(400)))
    assert {each.status for each in results} == {AttemptStatus.SUCCEEDED}
    assert {len(each.body) for each in receiver.requests} == {20_000}


def test_an_abort_really_closes_the_connection(node, receiver):
    node.pool.submit([delivery(receiver.url("/hang"))])
    receiver.wait_for(lambda seen: len(seen.requests) == 1)
    node.pool.abort([(execution_id(1), 1), (b"unknown", 1)])
    receiver.wait_for(lambda seen: seen.disconnects == 1)
    result = node.results()[0]
    assert (result.status, result.error_code) == (AttemptStatus.CANCELLED, "aborted")


def test_a_killed_process_is_replaced_and_its_attempts_are_lost(node, receiver):
    node.pool.submit(many(receiver.url("/hang"), 3))
    receiver.wait_for(lambda seen: len(seen.requests) == 3)
    (killed,) = node.pool.pids
    os.kill(killed, signal.SIGKILL)
    results = node.results(3)
    assert {(each.status, each.error_code, each.retryable) for each in results} == {
        (AttemptStatus.LOST, "worker_died", True)
    }
    assert node.log == [("dispatch_process_died", {"pid": killed, "exit_code": -9, "attempts_lost": 3})]
    assert node.send(delivery(receiver.url("/ok"), number=9))[0].status is AttemptStatus.SUCCEEDED
    assert node.pool.stats().restarts == 1
    assert killed not in node.pool.pids


def test_a_process_that_is_stuck_is_killed_and_replaced(node_with, receiver):
    clock = [1_000.0]
    node = node_with(now_s=lambda: clock[0])
    node.send(delivery(receiver.url("/ok"), number=1))
    os.kill(node.pool.pids[0], signal.SIGSTOP)
    node.pool.submit([delivery(receiver.url("/ok"), number=2, timeout_ms=1_000)])
    clock[0] += 31
    assert node.pool.collect() == []
    clock[0] += 6
    assert node.results()[0].error_code == "worker_died"
    assert node.send(delivery(receiver.url("/ok"), number=3))[0].status is AttemptStatus.SUCCEEDED


def test_only_the_attempts_of_the_killed_process_are_lost(node_with, receiver):
    node = node_with(processes=2)
    node.pool.submit(many(receiver.url("/hold"), 200))  # more than the spill bound: both get some
    receiver.wait_for(lambda seen: len(seen.requests) >= 66)
    os.kill(node.pool.pids[0], signal.SIGKILL)
    receiver.released.set()
    statuses = [each.status for each in node.results(200)]
    assert set(statuses) == {AttemptStatus.SUCCEEDED, AttemptStatus.LOST}


def test_a_process_that_keeps_dying_is_restarted_later_and_work_waits_for_it(node_with, receiver):
    clock = [1_000.0]
    node = node_with(now_s=lambda: clock[0])
    for died in (1, 2):
        os.kill(node.pool.pids[0], signal.SIGKILL)
        while node.pool.stats().restarts < died:
            assert node.news.wait(10)
            node.news.clear()
            node.pool.collect()
    assert node.pool.pids == []
    node.pool.submit(many(receiver.url("/ok"), 2))
    node.pool.abort([(execution_id(0), 1)])
    assert [each.status for each in node.pool.collect()] == [AttemptStatus.CANCELLED]
    assert node.pool.stats().queue_depth == 1
    clock[0] += 0.2
    assert node.results()[0].status is AttemptStatus.SUCCEEDED


def test_a_stop_signal_for_the_whole_group_does_not_end_a_child(node, receiver):
    node.send(delivery(receiver.url("/ok"), number=1))  # it is up: signals are ignored from here
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(node.pool.pids[0], number)
    assert node.send(delivery(receiver.url("/ok"), number=2))[0].status is AttemptStatus.SUCCEEDED
    assert node.pool.stats().restarts == 0


def test_a_child_ends_when_its_parent_is_killed(receiver):
    program = (
        "import sys, threading\n"
        "from chronos_worker.dispatch import DispatchPool, DispatchSettings\n"
        "pool = DispatchPool(DispatchSettings(), wake=lambda: None, log=None)\n"
        "pool.start()\n"
        "print(pool.pids[0], flush=True)\n"
        "threading.Event().wait()\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([child], [], [], 10)[0], "the child outlived its parent"
    finally:
        os.close(child)


def test_failures_in_a_row_open_the_breaker_and_the_refusal_says_so(node_with, receiver):
    clock = [1_000.0]
    node = node_with(now_s=lambda: clock[0], breaker=BreakerSettings(failures=3, cool_down_ms=5_000))
    for number in range(3):
        node.send(delivery(receiver.url("/500"), number=number))
    assert node.pool.stats().open_breakers == 1
    refused = node.send(delivery(receiver.url("/ok"), number=7))[0]
    assert (refused.status, refused.error_code, refused.retryable) == (
        AttemptStatus.FAILED,
        "circuit_open",
        True,
    )
    assert refused.retry_after_ms == 5_000
    assert "127.0.0.1" in refused.error
    assert len(receiver.requests) == 3
    clock[0] += 5
    assert node.send(delivery(receiver.url("/404"), number=8))[0].http_status == 404
    assert node.pool.stats().open_breakers == 0


def test_a_probe_that_is_lost_or_aborted_frees_the_half_open_slot(node_with, receiver):
    clock = [1_000.0]
    node = node_with(now_s=lambda: clock[0], breaker=BreakerSettings(failures=1, cool_down_ms=1_000))
    node.send(delivery(receiver.url("/500"), number=1))
    clock[0] += 1
    node.pool.submit([delivery(receiver.url("/hang"), number=2)])
    receiver.wait_for(lambda seen: len(seen.requests) == 2)
    assert node.send(delivery(receiver.url("/ok"), number=3))[0].error_code == "circuit_open"
    os.kill(node.pool.pids[0], signal.SIGKILL)
    assert node.results()[0].status is AttemptStatus.LOST
    node.pool.submit([delivery(receiver.url("/hang"), number=4)])
    receiver.wait_for(lambda seen: len(seen.requests) == 3)
    node.pool.abort([(execution_id(4), 1)])
    assert node.results()[0].status is AttemptStatus.CANCELLED
    assert node.send(delivery(receiver.url("/ok"), number=5))[0].status is AttemptStatus.SUCCEEDED


def test_draining_takes_nothing_new_and_lets_the_running_end(node, receiver):
    node.pool.submit([delivery(receiver.url("/hold"), number=1)])
    receiver.wait_for(lambda seen: len(seen.requests) == 1)
    node.pool.drain(grace_s=30)
    with pytest.raises(PoolFull):
        node.pool.submit([delivery(receiver.url("/ok"), number=2)])
    receiver.released.set()
    assert node.results()[0].status is AttemptStatus.SUCCEEDED
    assert node.pool.in_flight == 0


def test_what_is_still_running_after_the_grace_is_lost_and_its_connection_closed(node, receiver):
    node.pool.submit([delivery(receiver.url("/hang"))])
    receiver.wait_for(lambda seen: len(seen.requests) == 1)
    node.pool.drain(grace_s=0)
    result = node.pool.collect()[0]
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.LOST, "drained", True)
    receiver.wait_for(lambda seen: seen.disconnects == 1)
    assert node.pool.in_flight == 0


def test_closing_ends_the_processes(node, receiver):
    node.pool.submit([delivery(receiver.url("/hang"))])
    receiver.wait_for(lambda seen: len(seen.requests) == 1)
    (pid,) = node.pool.pids
    node.pool.close()
    receiver.wait_for(lambda seen: seen.disconnects == 1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_setting_out_of_range_is_named():
    with pytest.raises(ValueError, match="processes is 0; accepted are 1 to 64"):
        DispatchPool(DispatchSettings(processes=0), wake=lambda: None, log=Warnings())


def test_sending_once_shows_request_and_answer(receiver):
    sent = delivery(receiver.url("/ok"), method="POST", body={"a": 1}, auth=BearerAuth("tok"))
    result = send_once(sent, DispatchSettings(), Warnings())
    assert (result.http_status, result.response_body) == (200, '{"fine": true}')
    assert (result.request.method, result.request.body) == ("POST", '{"a":1}')
    assert result.request.headers["Authorization"] == MASK
    assert receiver.requests[0].headers["authorization"] == "Bearer tok"


def test_sending_once_obeys_the_same_rules():
    result = send_once(delivery("http://169.254.169.254/"), DispatchSettings(), Warnings())
    assert result.error_code == "forbidden_address"


def test_the_sending_process_loads_neither_the_log_nor_the_store():
    program = "import sys, chronos_worker.dispatch.worker_process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"structlog", "sqlalchemy", "pysyncobj", "flask", "requests"} & set(loaded.split())


def test_the_parent_does_not_load_libcurl():
    program = "import sys, chronos_worker.dispatch; print('pycurl' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"
