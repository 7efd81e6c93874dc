"""The only place that knows libcurl: many requests at once on one thread.

libcurl's multi interface is driven by its socket and timer callbacks over one epoll, so a turn costs
what is ready, not what is open. `Transfers` sends single requests; redirects, retries and what an
answer means are decided above, in `exchange`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from io import BytesIO
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any, Final

import pycurl

from chronos_worker.dispatch.exchange import Hop, kept_headers
from chronos_worker.dispatch.messages import AttemptKey
from chronos_worker.dispatch.request import Request
from chronos_worker.dispatch.settings import DispatchSettings
from chronos_worker.dispatch.trust import ca_bundle
from chronos_worker.dispatch.verdict import Reason

_EVENTS_PER_TURN: Final = 512
_IDLE_HANDLES: Final = 512
_CACHE_STEP: Final = 256
_UPLOAD_BUFFER_BYTES: Final = 16_384
"""libcurl's least. Its default of 64 KiB made a waiting POST cost 56 kB of memory instead of 26 kB."""
_LENGTH_ZERO_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose servers expect a Content-Length even without a body (RFC 9110 §8.6)."""

_EPOLL_MASKS: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: EPOLLIN,
    pycurl.POLL_OUT: EPOLLOUT,
    pycurl.POLL_INOUT: EPOLLIN | EPOLLOUT,
}
_REASONS: Final = {
    pycurl.E_OPERATION_TIMEDOUT: Reason.TIMEOUT,
    pycurl.E_COULDNT_RESOLVE_HOST: Reason.DNS_FAILED,
    pycurl.E_COULDNT_CONNECT: Reason.CONNECT_FAILED,
    pycurl.E_INTERFACE_FAILED: Reason.CONNECT_FAILED,
    pycurl.E_SSL_CONNECT_ERROR: Reason.TLS_FAILED,
    pycurl.E_PEER_FAILED_VERIFICATION: Reason.TLS_FAILED,
    pycurl.E_SSL_CACERT_BADFILE: Reason.TLS_FAILED,
    pycurl.E_SSL_CERTPROBLEM: Reason.TLS_FAILED,
    pycurl.E_SSL_CIPHER: Reason.TLS_FAILED,
    pycurl.E_SSL_ISSUER_ERROR: Reason.TLS_FAILED,
    pycurl.E_RECV_ERROR: Reason.RESET,
    pycurl.E_SEND_ERROR: Reason.RESET,
    pycurl.E_GOT_NOTHING: Reason.CLOSED_EARLY,
    pycurl.E_PARTIAL_FILE: Reason.CLOSED_EARLY,
    pycurl.E_UNSUPPORTED_PROTOCOL: Reason.PROTOCOL_ERROR,
    pycurl.E_HTTP2: Reason.PROTOCOL_ERROR,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Reason.PROTOCOL_ERROR,  # libcurl's number for any unreadable reply
    pycurl.E_TOO_MANY_REDIRECTS: Reason.TOO_MANY_REDIRECTS,
    pycurl.E_URL_MALFORMAT: Reason.INVALID_TARGET,
}


class _Transfer:
    """One easy handle and what its callbacks have seen of the request under way."""

    __slots__ = ("_body_limit", "_read_limit", "_refusal", "body", "curl", "cut", "head", "key",
                 "opened", "read", "refused", "shape", "socket_error", "timeout_ms")  # fmt: skip

    def __init__(self, settings: DispatchSettings, refusal: Callable[[str, int], str | None]) -> None:
        self.curl = pycurl.Curl()
        self._refusal = refusal
        self._body_limit = settings.response_body_bytes
        self._read_limit = max(settings.response_read_bytes, settings.response_body_bytes)
        self.head = BytesIO()
        """Header lines as they came; libcurl bounds their sum at 300 kB."""
        self.shape: tuple[str, bool] | None = None
        self.forget()

    def forget(self) -> None:
        """Make ready for the next request."""
        self.key: AttemptKey = (b"", 0)
        self.timeout_ms = 0
        self.head.seek(0)
        self.head.truncate()
        self.body = b""
        self.read = self.opened = 0
        self.cut = False
        self.refused: str | None = None
        self.socket_error: str | None = None

    def on_body(self, chunk: bytes) -> int | None:
        """Keep what fits; after `response_read_bytes` give up the connection."""
        room = self._body_limit - len(self.body)
        if room > 0:
            self.body += chunk[:room]
        self.read += len(chunk)
        if self.read > self._read_limit:
            self.cut = True
            return 0
        return None

    def on_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """Open the socket to an address libcurl is about to connect to, unless the policy refuses."""
        ip, port = address.addr[:2]
        why = self._refusal(ip if isinstance(ip, str) else ip.decode(), port)
        if why is not None:
            self.refused = why
            return pycurl.SOCKET_BAD  # type: ignore[no-any-return]
        try:
            opened = socket.socket(address.family, address.socktype, address.protocol)
        except OSError as error:
            self.socket_error = str(error)
            return pycurl.SOCKET_BAD  # type: ignore[no-any-return]
        self.opened += 1
        return opened


class Transfers:
    """Requests under way in this process. `refusal(ip, port)` is the address policy's verdict.

    Not thread-safe: one loop calls `start`, `abort` and `turn`.
    """

    def __init__(self, settings: DispatchSettings, refusal: Callable[[str, int], str | None]) -> None:
        self._settings = settings
        self._refusal = refusal
        self._ca_file = ca_bundle(settings.ca_file)
        self._active: dict[AttemptKey, _Transfer] = {}
        self._by_curl: dict[Any, _Transfer] = {}
        self._idle: list[_Transfer] = []
        self._epoll = epoll()
        self._watched: set[int] = set()
        self._due_s: float | None = None
        self._max_idle = max(1, settings.max_idle_connections // settings.processes)
        self._cache_size = 0
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, host_bound(settings))
        self._fit_cache()

    def __len__(self) -> int:
        return len(self._active)

    def fileno(self) -> int:
        """Readable when `turn` has something to do."""
        return self._epoll.fileno()

    def due_in_s(self, now_s: float) -> float | None:
        """When `turn` is due though nothing is readable; None: never."""
        return None if self._due_s is None else max(0.0, self._due_s - now_s)

    def start(self, key: AttemptKey, request: Request, timeout_ms: int) -> None:
        """Send one request under a key that names no other."""
        transfer = self._idle.pop() if self._idle else _Transfer(self._settings, self._refusal)
        transfer.key, transfer.timeout_ms = key, timeout_ms
        self._configure(transfer, request)
        self._active[key] = self._by_curl[transfer.curl] = transfer
        self._fit_cache()
        self._multi.add_handle(transfer.curl)

    def abort(self, key: AttemptKey) -> bool:
        """Drop a request and its connection; False if there is none under that key."""
        transfer = self._active.get(key)
        if transfer is None:
            return False
        self._release(transfer)
        return True

    def turn(self) -> list[tuple[AttemptKey, Hop]]:
        """Do what is ready, without waiting; gives the requests that ended."""
        for fd, events in self._epoll.poll(0, _EVENTS_PER_TURN):
            mask = (pycurl.CSELECT_OUT if events & EPOLLOUT else 0) | (pycurl.CSELECT_IN if events & ~EPOLLOUT else 0)
            self._multi.socket_action(fd, mask)
        if self._due_s is not None and self._due_s <= time.monotonic():
            self._due_s = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        ended: list[tuple[AttemptKey, Hop]] = []
        queued = 1
        while queued:
            queued, done, failed = self._multi.info_read()
            ended.extend(self._end(curl, None, "") for curl in done)
            ended.extend(self._end(curl, code, text) for curl, code, text in failed)
        return ended

    def close(self) -> None:
        """Drop everything."""
        for transfer in list(self._active.values()):
            self._release(transfer)
        self._multi.close()
        self._epoll.close()

    def _on_watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.remove(fd)
                self._epoll.unregister(fd)
            return
        mask = _EPOLL_MASKS[what]
        if fd in self._watched:
            self._epoll.modify(fd, mask)
        else:
            self._watched.add(fd)
            self._epoll.register(fd, mask)

    def _on_timer(self, timeout_ms: int) -> None:
        self._due_s = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1_000

    def _fit_cache(self) -> None:
        """Keep room for the idle connections allowed beside the busy ones.

        libcurl counts both against its cache size and closes one idle connection for each that
        returns above it; at 500 requests in flight a fixed size of 100 made every request a new
        connection (250 instead of 85 µs of CPU each).
        """
        wanted = self._max_idle + len(self._active)
        if not wanted <= self._cache_size <= wanted + 2 * _CACHE_STEP:
            self._cache_size = wanted + _CACHE_STEP
            self._multi.setopt(pycurl.M_MAXCONNECTS, self._cache_size)

    def _configure(self, transfer: _Transfer, request: Request) -> None:
        curl, body = transfer.curl, request.body
        if body is None and request.method in _LENGTH_ZERO_METHODS:
            body = b""
        shape = (request.method, body is not None)
        if transfer.shape != shape:
            self._reshape(transfer, *shape)
        if body is not None:
            curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, request.identity + request.lines)
        curl.setopt(pycurl.TIMEOUT_MS, transfer.timeout_ms)

    def _reshape(self, transfer: _Transfer, method: str, has_body: bool) -> None:
        """Set what stays equal between requests of one method."""
        curl = transfer.curl
        curl.reset()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.PROXY, "")  # none, whatever the environment says
        curl.setopt(pycurl.CAINFO, self._ca_file)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, self._settings.connect_timeout_ms)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER_BYTES)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, transfer.on_socket)
        curl.setopt(pycurl.HEADERFUNCTION, transfer.head.write)
        curl.setopt(pycurl.WRITEFUNCTION, transfer.on_body)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif has_body:
            curl.setopt(pycurl.POST, 1)
        if method not in {"GET", "HEAD"} or has_body:
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        transfer.shape = (method, has_body)

    def _end(self, curl: Any, code: int | None, text: str) -> tuple[AttemptKey, Hop]:
        transfer = self._by_curl[curl]
        reason, error = self._explain(transfer, code, text)
        ip = curl.getinfo(pycurl.PRIMARY_IP)
        hop = Hop(
            reason=reason,
            error=error,
            http_status=curl.getinfo(pycurl.RESPONSE_CODE),
            headers=kept_headers(_last_head(transfer.head.getvalue())),
            body=transfer.body,
            truncated=transfer.read > len(transfer.body),
            timings_ms=_phases(transfer),
            remote_address=_spell(ip, curl.getinfo(pycurl.PRIMARY_PORT)) if ip else None,
            redirect_url=curl.getinfo(pycurl.REDIRECT_URL),
        )
        key = transfer.key
        self._release(transfer)
        return key, hop

    def _explain(self, transfer: _Transfer, code: int | None, text: str) -> tuple[Reason | None, str | None]:
        if code is None or (transfer.cut and code == pycurl.E_WRITE_ERROR):
            return None, None
        if transfer.refused and not transfer.opened:
            return Reason.FORBIDDEN_ADDRESS, f"connecting is refused: {transfer.refused}"
        if transfer.socket_error:
            return Reason.CONNECT_FAILED, f"no socket could be opened: {transfer.socket_error}"
        reason = _REASONS.get(code, Reason.TRANSPORT_ERROR)
        if reason is Reason.TIMEOUT:
            return self._explain_timeout(transfer)
        return reason, text

    def _explain_timeout(self, transfer: _Transfer) -> tuple[Reason, str]:
        if _is_connected(transfer):
            got = transfer.curl.getinfo(pycurl.RESPONSE_CODE)
            return Reason.TIMEOUT, "the answer's body did not end" if got else "no first byte came"
        bound_ms = self._settings.connect_timeout_ms
        if bound_ms < transfer.timeout_ms:
            return Reason.CONNECT_FAILED, f"no connection within {bound_ms / 1_000:g} s"
        return Reason.TIMEOUT, "no connection was made"

    def _release(self, transfer: _Transfer) -> None:
        """Take a request out of libcurl; one that has not ended loses its connection."""
        self._multi.remove_handle(transfer.curl)
        del self._active[transfer.key]
        del self._by_curl[transfer.curl]
        if len(self._idle) < _IDLE_HANDLES:
            transfer.forget()
            self._idle.append(transfer)
        else:
            transfer.curl.close()


def host_bound(settings: DispatchSettings) -> int:
    """One process's share of the bound per host."""
    return -(-settings.max_connections_per_host // settings.processes)


def _is_connected(transfer: _Transfer) -> bool:
    """Whether the request had a connection to go out on, TLS included."""
    curl = transfer.curl
    if not transfer.opened:  # a reused one has an address; a name still looked up has none
        return bool(curl.getinfo(pycurl.PRIMARY_IP))
    secure = curl.getinfo(pycurl.EFFECTIVE_URL).startswith("https:")
    return bool(curl.getinfo(pycurl.APPCONNECT_TIME if secure else pycurl.CONNECT_TIME))


def _phases(transfer: _Transfer) -> dict[str, float]:
    """Lengths of the phases in ms; those of a reused connection are left out."""
    curl = transfer.curl
    phases: dict[str, float] = {"total": curl.getinfo(pycurl.TOTAL_TIME) * 1_000}
    if transfer.opened:
        dns = curl.getinfo(pycurl.NAMELOOKUP_TIME)
        connected = curl.getinfo(pycurl.CONNECT_TIME)
        secured = curl.getinfo(pycurl.APPCONNECT_TIME)
        phases["dns"] = round(dns * 1_000, 3)
        if connected:
            phases["connect"] = round((connected - dns) * 1_000, 3)
        if secured:
            phases["tls"] = round((secured - connected) * 1_000, 3)
    if transfer.head.tell():
        phases["first_byte"] = curl.getinfo(pycurl.STARTTRANSFER_TIME) * 1_000
    return phases


def _last_head(head: bytes) -> bytes:
    """The head of the final response: interim ones (100, 103) end with an empty line before it."""
    start = head.rfind(b"\r\n\r\nHTTP/")
    return head if start < 0 else head[start + 4 :]


def _spell(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
