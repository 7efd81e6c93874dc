"""A receiver of our own: `python -m bench.own_sink --port N --log FILE`.

It answers `GET /` at once and `GET /wait/30` after 30 seconds, and writes a line for each request as nginx
does in `bench.sink`. It stands in for nginx where there is none, and for slow targets everywhere.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from pathlib import Path
from typing import Final, TextIO

import click

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_END: Final = b"\r\n\r\n"
_LARGEST_HEAD: Final = 64 * 1024
_BACKLOG: Final = 4_096


class Connection(asyncio.Protocol):
    """One kept connection; requests without bodies, one after another."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        now = time.time()
        self._received += data
        while _END in self._received:
            head, _, self._received = self._received.partition(_END)
            self._answer(head, now)
        if len(self._received) > _LARGEST_HEAD and self._transport:
            self._transport.abort()

    def _answer(self, head: bytes, now: float) -> None:
        request, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        values = [fields.get(f"x-chronos-{name}", "-") for name in ("scheduled-time", "attempt", "execution-id")]
        self._log.write(f"{now:.3f} 0.000 {' '.join(values)}\n")
        path = request.split(" ")[1]
        delay_s = float(path.removeprefix("/wait/")) if path.startswith("/wait/") else 0.0
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(_ANSWER)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--log", "path", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(port: int, path: Path) -> None:
    """Answer until terminated."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with path.open("w", encoding="ascii", buffering=256 * 1024) as log:
        asyncio.run(_serve(port, log))


async def _serve(port: int, log: TextIO) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: Connection(log), "127.0.0.1", port, backlog=_BACKLOG)
    await over.wait()
    server.close()


if __name__ == "__main__":
    main()
