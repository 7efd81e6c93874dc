"""The client of the control protocol, over real HTTP, against workers that answer by script."""

import http.server
import threading

import msgspec
import pytest

from chronos_api.cluster_client import WRITE_DEADLINE_S, ClusterClient
from chronos_common.commands import TriggerJob
from chronos_common.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from chronos_common.protocol import (
    SECRET_HEADER,
    Busy,
    Done,
    Found,
    GetJob,
    JobDeleted,
    NotLeader,
    Outcome,
    Pending,
    Proposal,
    Query,
    Rejected,
    TakeSnapshot,
    TooOld,
    TransferLeadership,
    decode,
    decode_result,
    encode,
)
from tests.support.processes import free_port

SECRET = "a secret that only tests use"
DONE = Outcome(7, JobDeleted("gone"))
CHANGE = TriggerJob("job")
CUT = "close the connection without an answer"


class Worker:
    """Answers its script in order, the last line for ever; keeps what it was sent."""

    def __init__(self):
        self.script = []
        self.got = []
        worker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one packet, or delayed acknowledgements cost 40 ms each

            def do_POST(self):
                worker.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def answer(self, request):
        self.got.append((request.headers[SECRET_HEADER], request.rfile.read(int(request.headers["Content-Length"]))))
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if line is CUT:
            request.close_connection = True
            return
        status, body = (line, b"") if isinstance(line, int) else (200, encode(line))
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Clock:
    """Time passes only while the client sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def workers():
    found = [Worker(), Worker()]
    yield found
    for worker in found:
        worker.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(workers, clock):
    return ClusterClient([worker.url for worker in workers], SECRET, clock=clock, sleep=clock.sleep)


def propose(client):
    return client.propose(CHANGE, command_id="key", fingerprint=b"f", principal="me")


def test_a_write_follows_to_the_leader_and_goes_there_at_once_the_next_time(client, workers, clock):
    first, second = workers
    first.script, second.script = [NotLeader(second.url)], [DONE]
    assert propose(client) == propose(client) == DONE
    assert (len(first.got), len(second.got)) == (1, 2)
    assert clock.now == 0


def test_every_try_carries_the_same_command_id_and_the_secret(client, workers):
    first, second = workers
    first.script, second.script = [CUT, DONE], [Busy(100, "full"), Pending("slow"), NotLeader(None), DONE]
    assert propose(client) == DONE
    sent = [decode(body, Proposal) for _, body in first.got + second.got]
    assert len(sent) > 1
    assert {(one.command_id, one.fingerprint, one.change) for one in sent} == {("key", b"f", CHANGE)}
    assert {secret for secret, _ in first.got + second.got} == {SECRET}


def test_workers_that_name_each_other_as_leader_are_not_asked_in_a_storm(client, workers, clock):
    first, second = workers
    first.script, second.script = [NotLeader(second.url)], [NotLeader(first.url)]
    with pytest.raises(Unavailable, match="no leader right now; nothing was changed"):
        propose(client)
    assert len(first.got) + len(second.got) <= 2 * 10 * WRITE_DEADLINE_S + 2
    assert clock.now >= WRITE_DEADLINE_S


@pytest.mark.parametrize("line", [NotLeader(None), Busy(100, "more than 5 requests are waiting"), 401, 413])
def test_a_write_nobody_took_says_that_nothing_was_changed(client, workers, line):
    for worker in workers:
        worker.script = [line]
    with pytest.raises(Unavailable, match="nothing was changed") as refused:
        propose(client)
    assert refused.value.retry_after_s


@pytest.mark.parametrize("line", [Pending("slow"), CUT, 500])
def test_a_write_that_was_sent_and_not_confirmed_has_an_unknown_outcome(client, workers, line):
    for worker in workers:
        worker.script = [line, NotLeader(None)]
    with pytest.raises(OutcomeUnknown, match="same Idempotency-Key"):
        propose(client)


def test_a_refusal_becomes_its_error_and_is_not_tried_again(client, workers):
    workers[0].script = [Outcome(7, Rejected("conflict", "the name is taken"))]
    with pytest.raises(Conflict, match="the name is taken"):
        propose(client)
    assert len(workers[0].got) == 1


def test_with_no_worker_listening_nothing_can_have_been_sent(clock):
    client = ClusterClient([f"http://127.0.0.1:{free_port()}"], SECRET, clock=clock, sleep=clock.sleep)
    with pytest.raises(Unavailable, match="does not answer; nothing was changed"):
        propose(client)
    with pytest.raises(Unavailable, match="does not answer"):
        client.query(GetJob("x"))


FOUND = Found(9, 250, msgspec.Raw(encode(None)))


def test_a_read_goes_on_to_a_worker_that_answers_and_stays_with_it(client, workers):
    first, second = workers
    first.script, second.script = [CUT], [FOUND]
    for _ in range(3):
        assert client.query(GetJob("x")).age_ms == 250
    assert (len(first.got), len(second.got)) == (1, 3)


def test_a_read_survives_a_connection_closed_under_it_by_the_only_worker(workers, clock):
    client = ClusterClient([workers[0].url], SECRET, clock=clock, sleep=clock.sleep)
    workers[0].script = [CUT, FOUND]
    found = client.query(GetJob("x"))
    assert (found.index, decode_result(GetJob("x"), found)) == (9, None)


def test_a_read_says_how_recent_it_must_be_and_passes_by_workers_that_are_not(client, workers):
    first, second = workers
    first.script, second.script = [TooOld(3, "has only reached index 3")], [FOUND]
    assert client.query(GetJob("x"), min_index=9, strong=True).index == 9
    asked = decode(second.got[0][1], Query)
    assert (asked.min_index, asked.strong) == (9, True)


def test_a_read_no_worker_is_recent_enough_for_gives_up_and_says_why(client, workers):
    for worker in workers:
        worker.script = [TooOld(3, "has only reached index 3")]
    with pytest.raises(Unavailable, match="has only reached index 3"):
        client.query(GetJob("x"), min_index=9)
    assert len(workers[0].got) == 2


@pytest.mark.parametrize("line", [CUT, 500])
def test_what_an_operator_asked_for_is_never_sent_twice(client, workers, line):
    for worker in workers:
        worker.script = [line]
    with pytest.raises(OutcomeUnknown):
        client.admin(TakeSnapshot())
    assert len(workers[0].got) + len(workers[1].got) == 1


def test_what_is_for_the_leader_follows_to_it(client, workers):
    first, second = workers
    first.script, second.script = [NotLeader(second.url)], [Done("handed over")]
    assert client.admin(TransferLeadership(), to_leader=True) == Done("handed over")
    second.script = [Rejected("not_found", "no such member")]
    with pytest.raises(NotFound, match="no such member"):
        client.admin(TransferLeadership("x"), to_leader=True)


def test_a_worker_of_another_protocol_is_no_worker(client, workers):
    first, second = workers
    first.script, second.script = [Done("what?")], [FOUND]
    assert client.query(GetJob("x")).index == 9
