"""The control port over real sockets: what it answers, whom it turns away, and how it ends."""

import http.client
import socket
import threading
from contextlib import closing

import msgspec
import pytest

from chronos_common.protocol import MAX_BODY_BYTES, SECRET_HEADER, encode
from chronos_worker.control import server as control
from tests.support.processes import wait_for

SECRET = "a secret that only tests use"
HEADERS = {SECRET_HEADER: SECRET}


class Work:
    """A call that waits until the test lets it go on."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _body):
        self.begun.set()
        assert self.go_on.wait(10)
        return "done"


def broken(_body):
    raise RuntimeError("a defect")


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def server(work):
    routes = {
        ("POST", "/echo"): lambda body: msgspec.msgpack.decode(body, type=str),
        ("GET", "/empty"): len,
        ("POST", "/work"): work,
        ("POST", "/broken"): broken,
    }
    found = control.ControlServer("127.0.0.1", 0, control.ControlApp(SECRET, routes, [].append))
    found.start()
    yield found
    work.go_on.set()
    found.close()


def ask(connection, method, path, body=b"", headers=HEADERS):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, msgspec.msgpack.decode(answer.read())


def connect(server):
    return closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10))


def test_one_connection_serves_many_requests(server):
    with connect(server) as connection:
        for text in ("a", "ü" * 100_000, ""):
            assert ask(connection, "POST", "/echo", encode(text)) == (200, text)
            kept = connection.sock
        assert ask(connection, "GET", "/empty") == (200, 0)
        assert connection.sock is kept


def test_requests_sent_in_one_go_are_answered_in_order(server):
    request = b"POST /echo HTTP/1.1\r\n" + f"{SECRET_HEADER}: {SECRET}\r\n".encode() + b"Content-Length: 2\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
        connection.sendall(request + encode("a") + request + encode("b"))
        answers = b""
        while answers.count(b"200 OK") < 2 or not answers.endswith(encode("b")):
            answers += connection.recv(4_096)
    assert answers.index(encode("a")) < answers.index(encode("b"))


@pytest.mark.parametrize(
    "headers", [{}, {SECRET_HEADER: "wrong"}, {SECRET_HEADER: SECRET + "x"}, {SECRET_HEADER: "ü"}]
)
def test_who_does_not_know_the_secret_is_not_even_read(server, work, headers):
    with connect(server) as connection:
        status, told = ask(connection, "POST", "/work", encode("anything"), headers)
        assert (status, told) == (401, "the cluster secret is missing or wrong")
        assert connection.sock is None
    assert not work.begun.is_set()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/nowhere", b"", 404),
        ("GET", "/echo", b"", 404),
        ("POST", "/echo", b"\xc1", 400),
        ("POST", "/broken", b"", 500),
    ],
)
def test_what_cannot_be_answered_says_why(server, method, path, body, status):
    with connect(server) as connection:
        found, told = ask(connection, method, path, body)
    assert found == status
    assert "defect" not in told


def test_a_body_over_the_bound_is_refused_before_it_is_sent(server):
    head = f"POST /echo HTTP/1.1\r\n{SECRET_HEADER}: {SECRET}\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(4_096)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nno field\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000,
        f"POST /echo HTTP/1.1\r\n{SECRET_HEADER}: {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
    ],
)
def test_what_is_no_request_ends_its_connection_and_no_other(server, sent):
    with connect(server) as other:
        assert ask(other, "GET", "/empty") == (200, 0)
        with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
            connection.sendall(sent)
            assert b" 200 " not in connection.recv(4_096)
        assert ask(other, "GET", "/empty") == (200, 0)


def test_connections_beyond_the_bound_are_closed_and_their_places_come_back(server):
    held = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(control.MAX_CONNECTIONS)]
    with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as one_more:
        assert one_more.recv(1) == b""
    for connection in held:
        connection.close()

    def served():
        try:
            with connect(server) as connection:
                return ask(connection, "GET", "/empty") == (200, 0)
        except (OSError, http.client.HTTPException):
            return False

    wait_for(served, "a place")


def test_closing_finishes_what_is_under_way_and_ends_what_is_idle(server, work):
    told = []
    with connect(server) as idle, connect(server) as busy:
        assert ask(idle, "GET", "/empty") == (200, 0)
        asking = threading.Thread(target=lambda: told.append(ask(busy, "POST", "/work")))
        asking.start()
        assert work.begun.wait(10)
        ending = threading.Thread(target=server.close)
        ending.start()
        assert idle.sock.recv(1) == b""
        work.go_on.set()
        asking.join(10)
        ending.join(10)
    assert told == [(200, "done")]
    assert not ending.is_alive()


def test_an_address_that_is_taken_is_named(server):
    with pytest.raises(OSError, match=f"control address 127.0.0.1:{server.port} cannot be used"):
        control.ControlServer("127.0.0.1", server.port, control.ControlApp(SECRET, {}, [].append))
