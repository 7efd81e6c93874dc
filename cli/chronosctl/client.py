"""The way to the API: one session, one deadline for waiting out 503 and 429, every failure a `CliError`."""

from __future__ import annotations

import random
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import requests

from chronos_common.errors import InvalidRequest, Unauthenticated
from cli.chronosctl.failures import UNAVAILABLE, CliError, from_problem

PREFIX: Final = "/api/v1"
PAGE: Final = 500
CONNECT_S: Final = 5.0
_WAIT_OUT: Final = (429, 503)
_LONGEST_PAUSE_S: Final = 10.0
_PART: Final = 1 << 20


class Answer(NamedTuple):
    """What came back: the JSON, and the headers."""

    data: Any
    headers: dict[str, str]


class Api:
    """The API at one base URL.

    `patience_s` bounds how long one call may be repeated while the cluster has no leader (503) or asks for a
    slower pace (429). A repeated write carries the same Idempotency-Key, so it takes effect once. `connect_s` and
    `read_s` bound the wait for a connection and for an answer. `ca` is a file of PEM certificates to trust in place
    of the usual ones.

    Raises:
        CliError: `ca` holds no certificates.
    """

    def __init__(
        self,
        server: str,
        key: str | None = None,
        *,
        ca: str | None = None,
        connect_s: float = CONNECT_S,
        patience_s: float = 15.0,
        read_s: float = 90.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.server = server.rstrip("/")
        self._connect_s = min(connect_s, read_s)
        self._patience_s = patience_s
        self._read_s = read_s
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc between us and our own cluster
        self._session.headers.update({"Accept": "application/json, application/problem+json"})
        self._session.verify = _trusted(ca) if ca else True
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at a path below /api/v1. Parameters that are None are left out."""
        return self.call("GET", path, params=params).data

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a POST, under a fresh Idempotency-Key."""
        return self.call("POST", path, body=body).data

    def pages(self, path: str, limit: int | None = None, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page; at most `limit` of them."""
        cursor = None
        left = limit
        while left is None or left > 0:
            page = self.get(path, **params, limit=PAGE if left is None else min(PAGE, left), cursor=cursor)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        if_version: int | None = None,
    ) -> Answer:
        """One request, repeated while it may be.

        Raises:
            CliError: the API cannot be reached, refused, or answered something else than JSON.
        """
        headers = {} if method == "GET" else {"Idempotency-Key": uuid.uuid4().hex}
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'
        given = {name: value for name, value in (params or {}).items() if value is not None}
        response = self._patiently(
            lambda: self._send(method, PREFIX + path, given, body, headers, stream=False), self._patience_s
        )
        return self._understood(response)

    @contextmanager
    def download(self, path: str, patience_s: float) -> Iterator[tuple[dict[str, str], Iterator[bytes]]]:
        """The headers and, part by part, the bytes of something large that may be 503 for up to `patience_s`.

        Raises:
            CliError: as `call`; while the parts are read, that they ended too early.
        """
        response = self._patiently(lambda: self._send("GET", PREFIX + path, {}, None, {}, stream=True), patience_s)
        with closing(response):
            if response.status_code != requests.codes.ok:
                self._understood(response)
            yield {name.lower(): value for name, value in response.headers.items()}, self._parts(response)

    def _parts(self, response: requests.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_content(_PART)
        except requests.exceptions.RequestException as error:
            raise CliError(f"{self.server} broke off in the middle: {_reason(error)}", UNAVAILABLE) from error

    def _patiently(self, send: Callable[[], requests.Response], patience_s: float) -> requests.Response:
        give_up_at = self._clock() + patience_s
        while True:
            response = send()
            if response.status_code in _WAIT_OUT and "Retry-After" in response.headers:
                pause = self._pause(response.headers["Retry-After"])
                if self._clock() + pause <= give_up_at:
                    response.close()
                    self._sleep(pause)
                    continue
            return response

    def _send(
        self, method: str, path: str, params: Any, body: Any, headers: dict[str, str], *, stream: bool
    ) -> requests.Response:
        try:
            return self._session.request(
                method, self.server + path, params=params, json=body, headers=headers, stream=stream,
                timeout=(self._connect_s, self._read_s), allow_redirects=False,
            )  # fmt: skip
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            raise CliError(f"--server {self.server!r} is no URL such as http://127.0.0.1:8080", 2) from error
        except (requests.exceptions.InvalidSchema, UnicodeError, ValueError) as error:
            raise CliError(f"the request cannot be sent to {self.server!r}: {error}", 2) from error
        except requests.exceptions.SSLError as error:
            raise CliError(f"no trusted TLS connection to {self.server}: {_reason(error)}", UNAVAILABLE) from error
        except requests.exceptions.ConnectionError as error:
            message = f"no API answers at {self.server}: {_reason(error)}"
            raise CliError(message, UNAVAILABLE, ("is it running? choose another with --server",)) from error
        except requests.exceptions.Timeout as error:
            raise CliError(f"{self.server} did not answer in {self._read_s:g} s", UNAVAILABLE) from error
        except requests.exceptions.RequestException as error:
            raise CliError(f"{self.server}: {_reason(error)}", UNAVAILABLE) from error

    def _pause(self, retry_after: str) -> float:
        asked = float(retry_after) if retry_after.isdigit() else 1.0
        return min(asked, _LONGEST_PAUSE_S) + self._jitter() * 0.2

    def _understood(self, response: requests.Response) -> Answer:
        status = response.status_code
        headers = {name.lower(): value for name, value in response.headers.items()}
        if status == requests.codes.no_content:
            return Answer(None, headers)
        try:
            data = response.json()
        except ValueError:
            data = None
        if status < requests.codes.multiple_choices and data is not None:
            return Answer(data, headers)
        if status >= requests.codes.bad_request and isinstance(data, dict):
            failure = from_problem(status, data)
            if failure.code == Unauthenticated.code:
                failure.details += ("set CHRONOS_API_KEY, or api_key in ~/.config/chronos/config.yaml",)
            raise failure
        kind = headers.get("content-type", "without a type")
        raise CliError(f"{self.server} answered {status} ({kind}), which is no answer of a Chronos API")


def _trusted(ca: str) -> str:
    try:
        ssl.create_default_context(cafile=ca)
    except OSError as error:
        message = f"the certificates in {ca!r} cannot be used: {error.strerror or error}"
        raise CliError(message, InvalidRequest.exit_status, ("accepted: a file of PEM certificates",)) from error
    return ca


def _reason(error: BaseException) -> str:
    """The innermost cause of an error from requests, in one line."""
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "timed out", "Connection reset"):
        if known in text:
            return known.lower()
    return text.splitlines()[0][:200] if text else type(error).__name__
