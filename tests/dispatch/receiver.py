"""A webhook target on a real socket that can misbehave in every way a test names by its path."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple


class Received(NamedTuple):
    """One request as the target saw it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[["Receiver", socket.socket, Received], bool]
"""Answers a request; says whether the connection stays open."""


class Receiver:
    """Listens on an ephemeral port of `host`; each connection has a thread.

    `routes` adds to or replaces the behaviours of `BEHAVIOURS`. `released` lets the hanging ones end.
    """

    def __init__(self, routes: dict[str, Behaviour] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._routes = {**BEHAVIOURS, **(routes or {})}
        self._tls = tls
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self.requests: list[Received] = []
        self.disconnects = 0
        self.released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.released.set()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    @property
    def connections(self) -> int:
        return len(self._connections)

    def wait_for(self, condition: Callable[["Receiver"], bool], within_s: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), within_s), "the receiver never saw it"

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            number = len(self._connections)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (request := _read(stream, number)) is not None:
                    with self._changed:
                        self.requests.append(request)
                        self._changed.notify_all()
                    behaviour = self._routes.get(request.path.split("?")[0], answer(404, b"no such path"))
                    if not behaviour(self, connection, request):
                        break
        except OSError:
            pass
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()


def _read(stream, number) -> Received | None:
    first = stream.readline().decode()
    if not first:
        return None
    method, path, _ = first.split(" ")
    headers = {}
    while line := stream.readline().decode().rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body, number)


def answer(status: int, body: bytes = b"ok", **headers: str) -> Behaviour:
    """A complete answer; `retry_after="3"` is sent as `Retry-After: 3`."""

    def behave(_receiver, connection, request):
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        connection.sendall(head + (b"" if request.method == "HEAD" else body))
        return True

    return behave


def redirect(url: str, status: int = 302) -> Behaviour:
    return answer(status, b"", location=url)


def hang(receiver, connection, _request):
    """Says nothing until released or left."""
    connection.settimeout(30)
    return not connection.recv(1)  # the sender never sends more: this ends when it goes


def hold(receiver, connection, request):
    """Answers once `released` is set."""
    receiver.released.wait(30)
    return answer(200)(receiver, connection, request)


def reset(_receiver, connection, _request):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False


def silent_close(_receiver, _connection, _request):
    return False


def close_mid_body(_receiver, connection, _request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    return False


def ten_megabytes(_receiver, connection, _request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
    for _ in range(160):
        connection.sendall(b"x" * 65536)
    return False


def endless_body(receiver, connection, _request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    return hang(receiver, connection, _request)


def gibberish(_receiver, connection, _request):
    connection.sendall(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
    return False


def early_hints(receiver, connection, request):
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\nServer: hints\r\n\r\n")
    return answer(200, server="BaseHTTP/0.6")(receiver, connection, request)


def slow_first_byte(receiver, connection, request):
    time.sleep(0.2)  # the behaviour under test is the wait itself
    return answer(200)(receiver, connection, request)


BEHAVIOURS: dict[str, Behaviour] = {
    "/ok": answer(200, b'{"fine": true}', content_type="application/json", x_request_id="r-1"),
    "/404": answer(404),
    "/500": answer(500, b"broken"),
    "/429": answer(429, retry_after="7"),
    "/503-date": answer(503, retry_after="Fri, 31 Dec 2999 23:59:59 GMT"),
    "/latin": answer(200, b"caf\xe9"),
    "/six-kilobytes": answer(200, b"y" * 6_000),
    "/ring": redirect("/ring"),
    "/to-ok": redirect("/ok"),
    "/to-ok-307": redirect("/ok", 307),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-file": redirect("file:///etc/passwd"),
    "/hang": hang,
    "/hold": hold,
    "/reset": reset,
    "/silent-close": silent_close,
    "/close-mid-body": close_mid_body,
    "/ten-megabytes": ten_megabytes,
    "/endless-body": endless_body,
    "/gibberish": gibberish,
    "/early-hints": early_hints,
    "/slow": slow_first_byte,
}
