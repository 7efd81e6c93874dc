"""Kept connections to workers, over real sockets, and the messages on them in whatever pieces they arrive."""

import io
import socket
import threading
from contextlib import closing, contextmanager

import pytest

from chronos_api.connections import Connections, Unreachable
from chronos_common.http1 import MAX_HEAD_BYTES, BadMessage, MessageReader, message
from tests.support.processes import free_port

OK = message("HTTP/1.1 200 OK", {}, b"body")


@contextmanager
def peer(*conversations):
    """Answers on one connection after the other; each conversation lists what is sent for each request."""
    seen = []

    def serve(listener):
        for answers in conversations:
            connection, _ = listener.accept()
            with closing(connection):
                reader = MessageReader(connection.recv)
                for answer in answers:
                    head = reader.head()
                    seen.append((head.start, reader.body(head.length)))
                    connection.sendall(answer)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        thread.join()


def ask(connections, url, body=b"asked"):
    return connections.ask(url, "POST", "/v1/query", body, 10)


def test_a_connection_is_used_again():
    connections = Connections("secret")
    with peer([OK, OK]) as (url, seen):
        assert ask(connections, url) == ask(connections, url) == (200, b"body")
    assert seen == [("POST /v1/query HTTP/1.1", b"asked")] * 2


def test_a_connection_closed_meanwhile_is_opened_again_and_nothing_is_sent_into_the_void():
    connections = Connections("secret")
    with peer([OK], [OK]) as (url, seen):
        assert ask(connections, url) == (200, b"body")
        wait_until_closed(connections, url)
        assert ask(connections, url) == (200, b"body")
    assert len(seen) == 2


def wait_until_closed(connections, url):
    kept = connections._idle[url][0]._socket
    kept.settimeout(10)
    assert kept.recv(1, socket.MSG_PEEK) == b""


def test_a_connection_the_worker_will_close_is_not_kept():
    connections = Connections("secret")
    with peer([message("HTTP/1.1 500 Oops", {"Connection": "close"}, b"")], [OK]) as (url, _):
        assert ask(connections, url) == (500, b"")
        assert ask(connections, url) == (200, b"body")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0\r\n\r\n", OK[:-1]])
def test_what_was_sent_and_not_answered_may_have_arrived(said):
    with peer([said]) as (url, _), pytest.raises(Unreachable) as error:
        ask(Connections("secret"), url)
    assert error.value.sent


def test_what_could_not_be_sent_has_not_arrived():
    with pytest.raises(Unreachable) as error:
        ask(Connections("secret"), f"http://127.0.0.1:{free_port()}")
    assert not error.value.sent


def in_pieces(data, size):
    stream = io.BytesIO(data)
    return MessageReader(lambda most: stream.read(min(size, most)))


@pytest.mark.parametrize("size", [1, 3, 17, 10_000])
def test_messages_are_read_in_whatever_pieces_they_arrive(size):
    reader = in_pieces(message("GET /a HTTP/1.1", {"X-Y": "z"}, b"one") + message("GET /b HTTP/1.1", {}, b""), size)
    head = reader.head()
    assert (head.start, head.fields["x-y"], reader.body(head.length)) == ("GET /a HTTP/1.1", "z", b"one")
    head = reader.head()
    assert (head.start, reader.body(head.length)) == ("GET /b HTTP/1.1", b"")
    assert reader.head() is None


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(raw):
    with pytest.raises(BadMessage):
        in_pieces(raw, 10_000).head()


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "²", "9" * 13, "", "5, 5"])
def test_a_length_that_is_no_plain_number_is_refused(length):
    head = in_pieces(f"GET / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"), 10_000).head()
    with pytest.raises(BadMessage, match="Content-Length"):
        _ = head.length
