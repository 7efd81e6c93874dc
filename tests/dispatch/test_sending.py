"""Real requests to a real socket that misbehaves, sent by the child's loop inside this process."""

import contextlib
import datetime
import select
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chronos_common.models import AttemptStatus, BearerAuth
from chronos_worker.dispatch.http import Transfers
from chronos_worker.dispatch.messages import Instructions
from chronos_worker.dispatch.own_endpoints import OwnEndpoints
from chronos_worker.dispatch.settings import AddressSettings, DispatchSettings
from chronos_worker.dispatch.worker_process import Sender
from tests.dispatch.making import assignment
from tests.dispatch.receiver import Receiver, answer, hold, redirect


class Loop:
    """The child's loop, turned by hand."""

    def __init__(self, settings):
        self.transfers = Transfers(settings, OwnEndpoints(settings.addresses).refusal)
        self.sender = Sender(settings, self.transfers)
        self._poller = select.poll()
        self._poller.register(self.transfers.fileno(), select.POLLIN)

    def start(self, *assignments, abort=()):
        self.sender.accept(Instructions(list(assignments), list(abort)))

    def turn(self, at_most_s=0.1):
        due = self.sender.due_in_s()
        self._poller.poll((at_most_s if due is None else min(due, at_most_s)) * 1_000)
        return self.sender.turn()

    def results(self, count=1, within_s=15.0):
        found = []
        deadline = time.monotonic() + within_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} results in time"
            found += self.turn()
        return found

    def turn_until(self, condition, within_s=10.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "it never came about"
            assert self.turn(0.01) == []


@pytest.fixture
def looping():
    made = []

    def make(**settings):
        made.append(Loop(DispatchSettings(**settings)))
        return made[-1]

    yield make
    for loop in made:
        loop.transfers.close()


@pytest.fixture
def send(looping, receiver):
    """Send one delivery to a path of the receiver and give its result."""

    def send(path, settings=None, **fields):
        loop = looping(**(settings or {}))
        loop.start(assignment(receiver.url(path), **fields))
        return loop.results()[0]

    return send


def test_a_success_tells_what_came_back(send, receiver):
    result = send("/ok", number=5, attempt=2)
    assert (result.execution_id[-1], result.attempt) == (5, 2)
    assert (result.status, result.http_status, result.retryable) == (AttemptStatus.SUCCEEDED, 200, False)
    assert (result.error_code, result.error) == (None, None)
    assert result.response_body == '{"fine": true}'
    assert result.response_headers == {
        "content-type": "application/json", "content-length": "14", "x-request-id": "r-1",
    }  # fmt: skip
    assert result.remote_address == f"127.0.0.1:{receiver.port}"
    assert not result.response_truncated


def test_timings_add_up(send):
    result = send("/slow")
    timings = result.timings_ms
    assert {"dns", "connect", "first_byte", "total"} == set(timings)
    assert 200 <= timings["first_byte"] <= timings["total"]
    assert result.finished_at - result.started_at == round(timings["total"])


def test_the_target_sees_the_identifying_headers(send, receiver):
    send("/ok", number=5)
    seen = receiver.requests[0].headers
    assert seen["x-chronos-execution-id"] == seen["idempotency-key"] == "00000000-0000-0000-0000-000000000005"
    assert seen["x-chronos-scheduled-time"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_every_method_goes_out_with_and_without_a_body(send, receiver, method):
    assert send("/ok", method=method).status is AttemptStatus.SUCCEEDED
    bare = receiver.requests[0]
    assert (bare.method, bare.body) == (method, b"")
    assert "content-type" not in bare.headers
    assert ("content-length" in bare.headers) == (method in {"POST", "PUT", "PATCH"})
    if method != "HEAD":
        assert send("/ok", method=method, body={"a": 1}).status is AttemptStatus.SUCCEEDED
        full = receiver.requests[1]
        assert (full.method, full.body, full.headers["content-type"]) == (
            method,
            b'{"a":1}',
            "application/json",
        )


def test_a_handle_forgets_the_request_before(looping, receiver):
    loop = looping()
    for number, fields in enumerate(
        [{"method": "PUT", "body": "text"}, {}, {"method": "HEAD"}, {"method": "POST"}, {}]
    ):
        loop.start(assignment(receiver.url("/ok"), number=number, **fields))
        loop.results()
    assert [(each.method, each.body) for each in receiver.requests] == [
        ("PUT", b"text"), ("GET", b""), ("HEAD", b""), ("POST", b""), ("GET", b""),
    ]  # fmt: skip
    assert receiver.connections == 1


def test_a_large_body_is_sent_without_waiting_for_leave(send, receiver):
    send("/ok", method="POST", body="z" * 2_000_000)
    assert len(receiver.requests[0].body) == 2_000_000
    assert "expect" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    ("path", "code", "retryable", "retry_after_ms"),
    [("/404", 404, False, None), ("/500", 500, True, None), ("/429", 429, True, 7_000),
     ("/503-date", 503, True, 3_600_000)],
)  # fmt: skip
def test_a_bad_status_fails_with_what_the_target_asked_for(send, path, code, retryable, retry_after_ms):
    result = send(path)
    assert (result.status, result.http_status, result.error_code) == (
        AttemptStatus.FAILED,
        code,
        "bad_status",
    )
    assert (result.retryable, result.retry_after_ms) == (retryable, retry_after_ms)
    assert result.error == f"answered {code}, expected 200-299"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/reset", "reset"), ("/silent-close", "closed_early"), ("/close-mid-body", "closed_early"),
     ("/gibberish", "protocol_error")],
)  # fmt: skip
def test_a_broken_answer_is_a_failure_that_may_be_retried(send, path, code):
    result = send(path)
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.FAILED, code, True)
    assert result.error


def test_a_target_that_hangs_times_out(send):
    result = send("/hang", timeout_ms=300)
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.TIMED_OUT, "timeout", True)
    assert result.error == "no complete answer within 0.3 s: no first byte came"
    assert 300 <= result.timings_ms["total"] < 2_000


def test_a_target_that_hangs_on_a_reused_connection_is_told_from_one_never_reached(looping, receiver):
    loop = looping(connect_timeout_ms=100)
    for number, path in enumerate(["/ok", "/hang"]):
        loop.start(assignment(receiver.url(path), number=number, timeout_ms=300))
        result = loop.results()[0]
    assert receiver.connections == 1
    assert (result.error_code, result.timings_ms.keys()) == ("timeout", {"total"})
    assert "no first byte came" in result.error


def test_a_tls_handshake_that_hangs_is_no_connection(looping):
    loop = looping(connect_timeout_ms=200)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        loop.start(assignment(f"https://127.0.0.1:{mute.getsockname()[1]}/", timeout_ms=5_000))
        assert loop.results()[0].error == "no connection within 0.2 s"


def test_a_body_that_never_ends_times_out_and_keeps_what_came(send):
    result = send("/endless-body", timeout_ms=300)
    assert (result.status, result.http_status) == (AttemptStatus.TIMED_OUT, 200)
    assert result.response_body == "only this"
    assert "body did not end" in result.error


def test_ten_megabytes_are_cut_and_the_status_counts(send, receiver):
    result = send("/ten-megabytes")
    assert (result.status, result.http_status) == (AttemptStatus.SUCCEEDED, 200)
    assert len(result.response_body) == 4_096
    assert result.response_truncated
    receiver.wait_for(lambda seen: seen.disconnects == 1)


def test_a_body_a_little_too_long_is_cut_but_its_connection_kept(looping, receiver):
    loop = looping()
    for number in range(2):
        loop.start(assignment(receiver.url("/six-kilobytes"), number=number))
        result = loop.results()[0]
        assert (len(result.response_body), result.response_truncated) == (4_096, True)
    assert receiver.connections == 1


def test_a_body_that_is_not_utf8_is_replaced_not_refused(send):
    assert send("/latin").response_body == "caf\ufffd"


def test_interim_answers_do_not_count(send):
    result = send("/early-hints")
    assert (result.http_status, result.response_headers["server"]) == (200, "BaseHTTP/0.6")


def test_a_redirect_is_followed(send, receiver):
    result = send("/to-ok", method="POST", body={"a": 1})
    assert (result.status, result.http_status) == (AttemptStatus.SUCCEEDED, 200)
    assert [(each.method, each.path) for each in receiver.requests] == [("POST", "/to-ok"), ("GET", "/ok")]


def test_a_307_repeats_method_and_body(send, receiver):
    send("/to-ok-307", method="POST", body={"a": 1})
    assert [(each.method, each.body) for each in receiver.requests] == [("POST", b'{"a":1}')] * 2


def test_a_ring_of_redirects_ends_at_the_limit(send, receiver):
    result = send("/ring")
    assert (result.status, result.error_code, result.retryable) == (
        AttemptStatus.FAILED,
        "too_many_redirects",
        False,
    )
    assert len(receiver.requests) == 6
    assert (result.http_status, receiver.connections) == (302, 1)


def test_a_redirect_the_user_counts_as_success_is_not_followed(send, receiver):
    assert send("/ring", success_codes=((200, 399),)).http_status == 302
    assert len(receiver.requests) == 1


def test_redirects_share_the_time_of_the_attempt(looping):
    with Receiver({"/a": redirect("/slow"), "/slow": answer(200)}) as target:
        loop = looping()
        loop.start(assignment(target.url("/a"), timeout_ms=5_000))
        result = loop.results()[0]
    assert result.timings_ms["first_byte"] <= result.timings_ms["total"]


@pytest.mark.parametrize(
    ("path", "code"), [("/to-metadata", "forbidden_address"), ("/to-file", "forbidden_redirect")]
)
def test_a_redirect_to_where_no_webhook_may_go_is_refused(send, path, code):
    result = send(path)
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.FAILED, code, False)
    assert "169.254.169.254" in result.error or "file" in result.error


def test_secrets_do_not_follow_a_redirect_to_another_host(looping, receiver):
    with Receiver({"/away": redirect(receiver.url("/ok", host="localhost"))}) as first:
        loop = looping()
        loop.start(
            assignment(first.url("/away"), auth=BearerAuth("tok"), headers={"X-Api-Key": "k", "Accept": "a/b"})
        )
        assert loop.results()[0].status is AttemptStatus.SUCCEEDED
        assert first.requests[0].headers["authorization"] == "Bearer tok"
    there = receiver.requests[0].headers
    assert "authorization" not in there
    assert "x-api-key" not in there
    assert there["accept"] == "a/b"
    assert there["host"] == f"localhost:{receiver.port}"


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "0.0.0.0", "0", "2852039166"])
def test_a_forbidden_address_is_never_connected_to_however_it_is_written(looping, host):
    loop = looping()
    loop.start(assignment(f"http://{host}:1/"))
    result = loop.results()[0]
    assert (result.error_code, result.retryable) == ("forbidden_address", False)
    assert "connecting is refused" in result.error


def test_a_name_that_leads_to_a_denied_address_is_refused_at_the_socket(looping, receiver):
    loop = looping(addresses=AddressSettings(deny=("127.0.0.0/8", "::1")))
    loop.start(assignment(receiver.url("/ok", host="localhost")))
    assert loop.results()[0].error_code == "forbidden_address"
    assert receiver.connections == 0


def test_the_clusters_own_port_is_refused(looping, receiver):
    loop = looping(addresses=AddressSettings(own_endpoints=(("192.0.2.1", receiver.port),)))
    loop.start(assignment(receiver.url("/ok")))
    assert "own endpoint" in loop.results()[0].error


def test_a_closed_port_is_a_failed_connection(looping):
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    loop = looping()
    loop.start(assignment(f"http://127.0.0.1:{port}/"))
    result = loop.results()[0]
    assert (result.status, result.error_code, result.retryable) == (
        AttemptStatus.FAILED,
        "connect_failed",
        True,
    )
    assert result.http_status is None


def test_a_connection_that_does_not_come_about_ends_before_the_attempts_own_timeout(looping):
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # with its queue full, a listener answers no SYN
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        loop = looping(connect_timeout_ms=200)
        loop.start(assignment(f"http://127.0.0.1:{full.getsockname()[1]}/", timeout_ms=5_000))
        result = loop.results()[0]
    assert (result.status, result.error_code) == (AttemptStatus.FAILED, "connect_failed")
    assert result.error == "no connection within 0.2 s"


def test_a_name_nobody_knows_is_a_dns_failure(looping):
    loop = looping()
    loop.start(assignment("http://" + "x" * 64 + ".invalid/"))  # a label too long for any resolver to ask
    assert loop.results()[0].error_code == "dns_failed"


def test_the_environments_proxy_is_ignored(send, receiver, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert send("/ok").status is AttemptStatus.SUCCEEDED


def test_an_unsendable_target_fails_at_once_and_names_the_culprit(looping):
    loop = looping()
    loop.start(assignment("gopher://x/"))
    result = loop.results()[0]
    assert (result.error_code, result.retryable) == ("invalid_target", False)
    assert "gopher" in result.error


def test_an_abort_closes_the_connection_and_says_cancelled(looping, receiver):
    loop = looping()
    made = assignment(receiver.url("/hang"))
    loop.start(made)
    loop.turn_until(lambda: receiver.requests)
    loop.start(abort=[made.key, (b"unknown", 1)])
    result = loop.results()[0]
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.CANCELLED, "aborted", False)
    receiver.wait_for(lambda seen: seen.disconnects == 1)


def test_connections_are_reused_and_bounded_per_host(looping):
    with Receiver({"/hold": hold}) as target:
        loop = looping(max_connections_per_host=3)
        loop.start(*(assignment(target.url("/hold"), number=number) for number in range(9)))
        loop.turn_until(lambda: len(target.requests) == 3)
        target.released.set()
        assert {each.status for each in loop.results(9)} == {AttemptStatus.SUCCEEDED}
        assert target.connections == 3


def test_one_that_waits_too_long_for_a_connection_says_so(looping, receiver):
    loop = looping(max_connections_per_host=1)
    loop.start(assignment(receiver.url("/hang"), number=1))
    loop.turn_until(lambda: receiver.requests)
    loop.start(assignment(receiver.url("/ok"), number=2, timeout_ms=100))
    result = loop.results()[0]
    assert (result.execution_id[-1], result.error_code, result.retryable) == (2, "host_busy", True)


def test_a_waiting_one_can_be_aborted(looping, receiver):
    loop = looping(max_connections_per_host=1)
    loop.start(assignment(receiver.url("/hang"), number=1))
    waiting = assignment(receiver.url("/ok"), number=2)
    loop.turn_until(lambda: receiver.requests)
    loop.start(waiting, abort=[waiting.key])
    assert loop.results()[0].status is AttemptStatus.CANCELLED
    assert [each.path for each in receiver.requests] == ["/hang"]


def test_hundreds_of_hanging_requests_do_not_delay_another_host(looping, receiver):
    with Receiver() as busy:
        loop = looping()
        loop.start(*(assignment(busy.url("/hold"), number=number) for number in range(300)))
        loop.turn_until(lambda: len(busy.requests) == 300)
        loop.start(assignment(receiver.url("/ok"), number=999))
        assert loop.results()[0].timings_ms["total"] < 1_000


def test_a_lost_keep_alive_connection_is_replaced_unnoticed(looping):
    once = threading.Event()

    def close_after(target, connection, request):
        answer(200)(target, connection, request)
        return once.is_set()

    with Receiver({"/": close_after}) as target:
        loop = looping()
        for number in range(3):
            loop.start(assignment(target.url("/"), number=number))
            assert loop.results()[0].status is AttemptStatus.SUCCEEDED
            target.wait_for(lambda seen, ended=number + 1: seen.disconnects == ended)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost: (PEM file with key, PEM file without)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("tls")
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())  # fmt: skip
    (directory / "both.pem").write_bytes(private + public)
    (directory / "public.pem").write_bytes(public)
    return directory / "both.pem", directory / "public.pem"


@pytest.fixture
def tls_receiver(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])
    with Receiver(tls=context) as running:
        yield running


def test_a_self_signed_certificate_is_refused(looping, tls_receiver):
    loop = looping()
    loop.start(assignment(tls_receiver.url("/ok", host="localhost")))
    result = loop.results()[0]
    assert (result.status, result.error_code, result.retryable) == (AttemptStatus.FAILED, "tls_failed", True)
    assert "certificate" in result.error
    assert tls_receiver.requests == []


def test_a_certificate_of_a_configured_authority_is_accepted(looping, tls_receiver, certificate):
    loop = looping(ca_file=str(certificate[1]))
    loop.start(assignment(tls_receiver.url("/ok", host="localhost")))
    result = loop.results()[0]
    assert result.status is AttemptStatus.SUCCEEDED
    assert result.timings_ms["tls"] > 0


def test_a_certificate_for_another_name_is_refused(looping, tls_receiver, certificate):
    loop = looping(ca_file=str(certificate[1]))
    loop.start(assignment(tls_receiver.url("/ok", host="127.0.0.1")))
    assert loop.results()[0].error_code == "tls_failed"
