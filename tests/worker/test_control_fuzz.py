"""Bytes the API tier would not send, at the control port of a worker: nothing moves, and each try is counted.

`PORT_FUZZ_TRIES` and `PORT_FUZZ_SEED` say how many and which.
"""

import os
import re
import resource
import socket
import struct
from collections import Counter
from random import Random

import pytest
import requests

from chronos_common.commands import CreateJob, DeleteJob
from chronos_common.http1 import MAX_HEAD_BYTES
from chronos_common.models import HttpTarget, JobSpec
from chronos_common.protocol import (
    MAX_BODY_BYTES,
    SECRET_HEADER,
    JobChanged,
    ListJobs,
    MetricFamily,
    Proposal,
    ProposeReply,
    Query,
    QueryReply,
    TransferLeadership,
    WorkerStatus,
    decode,
    decode_result,
    encode,
)
from tests.support.processes import SECRET, wait_for, worker_in_thread, write_config

TRIES = int(os.environ.get("PORT_FUZZ_TRIES", "400"))
SEED = int(os.environ.get("PORT_FUZZ_SEED", "1"))
_GROWTH_KIB = 64 << 10
"""Most by which the process may grow, whatever the number of tries: every thread may hold one body."""
_LOOK_EVERY = 50
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def creation(name):
    """The proposal of a job, under its name as command id."""
    return Proposal(name, b"f", "api", CreateJob(JobSpec(name, HttpTarget("http://127.0.0.1:9/"))))


CREATE = creation("recorded")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with worker_in_thread(write_config(tmp_path_factory.mktemp("worker"))) as (worker, _):
        yield Port(worker.control.port)


class Port:
    """The control port as those who know the secret see it."""

    def __init__(self, number):
        self.number = number
        self._url = f"http://127.0.0.1:{number}"
        self._session = requests.Session()
        self._session.headers[SECRET_HEADER] = SECRET

    def get(self, path, kind):
        return decode(self._session.get(self._url + path, timeout=10).content, kind)

    def propose(self, proposal):
        answer = self._session.post(f"{self._url}/v1/propose", data=encode(proposal), timeout=10)
        return decode(answer.content, ProposeReply)

    def jobs(self):
        body = encode(Query(ListJobs()))
        answer = self._session.post(f"{self._url}/v1/query", data=body, timeout=10)
        return decode_result(ListJobs(), decode(answer.content, QueryReply))

    def refused(self):
        """What was refused, by reason, as the metrics tell it."""
        families = {family.name: family for family in self.get("/v1/metrics", list[MetricFamily])}
        samples = families["chronos_control_refused"].samples
        return {sample.labels["reason"]: int(sample.value) for sample in samples}

    def state(self):
        """What no stranger may move."""
        status = self.get("/v1/status", WorkerStatus)
        return status.term, status.commit_index, status.last_index, status.applied_index, status.role, status.peers


def request(method, path, body=b"", secret=SECRET, length=None):
    """One request as it looks on the wire."""
    length = len(body) if length is None else length
    own = f"{SECRET_HEADER}: {secret}\r\n" if secret is not None else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: w\r\n{own}Content-Length: {length}\r\n\r\n"
    return head.encode("latin-1") + body


def said_to(number, data, *, politely=True):
    """What the port answers to these bytes, until it hangs up; nothing is awaited after a reset."""
    with socket.create_connection(("127.0.0.1", number), timeout=20) as line:
        heard = b""
        try:
            line.sendall(data)
            if not politely:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return heard
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(1 << 16):
                heard += piece
        except ConnectionError:
            pass  # it has hung up while we spoke, which is its right
        return heard


def statuses(heard):
    return [int(code) for code in _STATUS.findall(heard)]


class Traffic:
    """What a stranger may try; `harmless` of it may be answered, for it asks nothing but what may be known."""

    def __init__(self, random):
        self._random = random
        self._recorded = [
            ("POST", "/v1/propose", encode(CREATE)),
            ("POST", "/v1/propose", encode(Proposal("other", b"f", "api", DeleteJob("0" * 32)))),
            ("POST", "/v1/query", encode(Query(ListJobs()))),
            ("POST", "/v1/admin", encode(TransferLeadership())),
            ("GET", "/v1/status", b""),
            ("GET", "/v1/metrics", b""),
        ]
        self._kinds = [
            self._garbage, self._lines, self._wrong_secret, self._truncated, self._flipped, self._flipped_read,
            self._nonsense, self._cut_body, self._other_length, self._other_call,
        ]  # fmt: skip
        self.made = Counter()

    def next(self):
        """(bytes, whether they may be answered)."""
        make = self._random.choice(self._kinds)
        self.made[make.__name__.strip("_")] += 1
        return make(), make == self._flipped_read

    def _one(self):
        return self._random.choice(self._recorded)

    def _garbage(self):
        return b"\x00" + self._random.randbytes(self._random.choice([1, 2, 30, 3_000]))

    def _lines(self):
        lines = [self._random.randbytes(self._random.randrange(60)) for _ in range(self._random.randrange(1, 9))]
        return b"\x01" + b"\r\n".join(lines)

    def _wrong_secret(self):
        near = [None, "", SECRET[:-1], SECRET + "x", SECRET.upper(), self._random.randbytes(9).hex(), "\xe9"]
        secret = self._random.choice(near)
        return request(*self._one(), secret=secret)

    def _truncated(self):
        whole = request(*self._one())
        return whole[: self._random.randrange(1, len(whole))]

    def _flipped(self):
        return self._flip(request(*self._one(), secret=SECRET[::-1]))

    def _flipped_read(self):
        return self._flip(request("GET", "/v1/status"))

    def _nonsense(self):
        path = self._random.choice(["/v1/propose", "/v1/query", "/v1/admin"])
        return request("POST", path, self._random.randbytes(self._random.choice([0, 1, 20, 5_000])))

    def _cut_body(self):
        method, path, body = self._random.choice(self._recorded[:4])
        return request(method, path, body[: self._random.randrange(len(body))])

    def _other_length(self):
        method, path, body = self._random.choice(self._recorded[:4])
        length = self._random.choice([-1, -7, len(body) - 1, MAX_BODY_BYTES + 1, 1 << 70, "1e3", "", "0x10"])
        return request(method, path, body, length=length)

    def _other_call(self):
        method = self._random.choice(["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI"])
        return request(method, self._random.choice(["/v1/propose", "*", "//", "/v1/statu", "/v2/status", "/%00"]))

    def _flip(self, data):
        flipped = bytearray(data)
        for _ in range(self._random.choice([1, 1, 2, 20])):
            flipped[self._random.randrange(len(flipped))] ^= 1 << self._random.randrange(8)
        return bytes(flipped)


def test_nothing_a_stranger_sends_changes_a_worker_and_every_try_is_counted(port):
    random = Random(SEED)
    traffic = Traffic(random)
    before, counted, grown_from = port.state(), sum(port.refused().values()), peak_kib()
    answered = 0
    for done in range(1, TRIES + 1):
        data, may_be_answered = traffic.next()
        found = statuses(said_to(port.number, data, politely=may_be_answered or random.random() < 0.8))
        if found and set(found) == {200}:
            assert may_be_answered, data
            answered += 1
        if done % _LOOK_EVERY == 0 or done == TRIES:
            wanted = counted + done - answered
            wait_for(lambda wanted=wanted: sum(port.refused().values()) >= wanted, f"{done} tries to be counted")
            assert port.state() == before
    assert peak_kib() - grown_from < _GROWTH_KIB
    assert isinstance(port.propose(creation("serves-on")).answer, JobChanged)
    print(f"{TRIES} tries {dict(traffic.made)}, answered {answered}, refused {port.refused()}, "  # noqa: T201
          f"grown by {peak_kib() - grown_from} KiB")  # fmt: skip


def peak_kib():
    """The most memory this process ever held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (request("GET", "/v1/status", secret="wrong"), 401, "unauthorized"),
        (request("GET", "/v1/status", secret=None), 401, "unauthorized"),
        (request("GET", "/v1/nothing"), 404, "unknown_call"),
        (request("POST", "/v1/query", b"\x80"), 400, "malformed"),
        (
            request("POST", "/v1/admin", encode({"type": "set_log_level", "level": 0})[:-3] + b"\xa1\xff\xff"),
            400,
            "malformed",
        ),
        (request("POST", "/v1/query", length=-1), 400, "malformed"),
        (request("POST", "/v1/query", length=MAX_BODY_BYTES + 1), 413, "oversized"),
        (request("GET", "/" + "x" * MAX_HEAD_BYTES), 431, "oversized"),
        (request("GET", "/v1/status", secret="x" * MAX_HEAD_BYTES), 431, "oversized"),
        (b"nonsense\r\n\r\n", 401, "unauthorized"),
        (b"no field: \r\nnonsense\r\n\r\n", 400, "malformed"),
        (b"\r\n", None, "abandoned"),
    ],
)
def test_each_refusal_is_counted_under_its_reason(port, data, status, reason):
    before, state = port.refused(), port.state()
    found = statuses(said_to(port.number, data))
    assert found[:1] == ([] if status is None else [status])
    after = port.refused()
    assert {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)} == {reason: 1}
    assert port.state() == state


def test_a_change_that_is_played_again_gets_its_first_answer_and_changes_no_row(port):
    first = port.propose(CREATE)
    jobs = port.jobs()
    again = port.propose(CREATE)
    assert (again.answer, again.repeated) == (first.answer, True)
    assert port.jobs() == jobs


def test_the_secret_is_not_in_any_answer(port):
    for data in (request("GET", "/v1/status", secret="wrong"), request("POST", "/v1/query", b"\x80"), b"x\r\n"):
        assert SECRET.encode() not in said_to(port.number, data)
