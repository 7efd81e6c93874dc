"""The parent's view of one child process: a socket to it and a thread that listens.

Writing is done by the caller's thread as far as the socket takes it, because handing it to another
thread would cost a turn of the interpreter lock; only what the socket does not take is left to the
listening thread. The process is started with exec, never by a bare fork of a threaded parent.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from chronos_worker.dispatch.channel import FrameReader, frame
from chronos_worker.dispatch.messages import DeliveryResult, Results
from chronos_worker.dispatch.settings import DispatchSettings

MODULE: Final = "chronos_worker.dispatch.worker_process"
_IMPORT_ROOT: Final = str(Path(__file__).resolve().parents[2])
_READ_BYTES: Final = 1 << 18
_SOCKET_BUFFER_BYTES: Final = 1 << 20

_results: Final = msgspec.msgpack.Decoder(Results)


class Child:
    """One running process. `wake` is called from the listening thread when `collect` has news."""

    def __init__(self, settings: DispatchSettings, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._inbox: deque[bytes] = deque()
        self._reader = FrameReader()
        self._lock = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self._gone = threading.Event()
        self._poke = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sock, theirs = socket.socketpair()
        for end in (self._sock, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        with theirs:
            self._process = _spawn(theirs.fileno())
        self._listener = threading.Thread(target=self._listen, name="dispatch-pipe", daemon=True)
        self._listener.start()
        self.send(msgspec.msgpack.encode(settings))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """The process has closed its end; what it wrote before can still be collected."""
        return self._gone.is_set()

    def send(self, message: bytes) -> None:
        """Hand over one message without waiting. To a process that is gone it is simply dropped."""
        data = frame(message)
        with self._lock:
            if not self._unsent:
                data = self._write(data)
            if data:
                self._unsent.append(data)
                os.eventfd_write(self._poke, 1)

    def collect(self) -> list[DeliveryResult]:
        """The results that have arrived."""
        found: list[DeliveryResult] = []
        while self._inbox:
            for message in self._reader.feed(self._inbox.popleft()):
                found.extend(_results.decode(message).items)
        return found

    def kill(self) -> None:
        """Kill the process; `gone` follows."""
        self._process.kill()

    def end(self) -> int:
        """Kill the process if it still lives and free what it held; gives its exit code."""
        self._process.kill()
        code = self._process.wait()
        self._listener.join()
        self._sock.close()
        os.close(self._poke)
        return code

    def _write(self, data: bytes) -> bytes:
        """Give the socket what it takes now; returns the rest."""
        try:
            sent = self._sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return data
        except OSError:
            return b""  # the process is gone: the listener sees it too, and the pool reports the loss
        return data[sent:]

    def _flush(self) -> None:
        with self._lock:
            while self._unsent:
                rest = self._write(self._unsent[0])
                if rest:
                    self._unsent[0] = rest
                    return
                self._unsent.popleft()

    def _listen(self) -> None:
        poller = select.poll()
        poller.register(self._poke, select.POLLIN)
        alive = True
        while alive:
            poller.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            for fd, events in poller.poll():
                if fd == self._poke:
                    os.eventfd_read(self._poke)
                elif events & ~select.POLLOUT:
                    alive = self._receive()
            self._flush()
        self._gone.set()
        self._wake()

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError:
            return False
        if data:
            self._inbox.append(data)
            self._wake()
        return bool(data)


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    paths = (_IMPORT_ROOT, os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", MODULE, str(descriptor)],
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        env=environment,
    )
