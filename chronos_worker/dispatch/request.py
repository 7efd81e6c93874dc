"""PURE: from a delivery to the request that is sent.

What is equal between deliveries of one target (URL, own headers, credentials, body) is prepared once
as a `PreparedTarget`; `request_for` adds what differs. Credentials become plain headers here, so that
nobody below knows which header is a secret and redirects are decided in one place (`redirects`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import msgspec

from chronos_common import VERSION
from chronos_common.ids import to_text
from chronos_common.models import ApiKeyAuth, BasicAuth, BearerAuth, HttpTarget
from chronos_worker.dispatch.messages import Assignment, RequestShown

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
CROSS_ORIGIN_HEADERS: Final = frozenset(
    {"accept", "accept-charset", "accept-language", "content-type", "content-encoding", "user-agent"}
)
"""The only headers of a user that follow a redirect to another origin; any other may be a secret."""
_OURS: Final = frozenset({"idempotency-key"})
_FRAMING: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
"""Headers that belong to the connection, not to the message: they are ours to write."""
_SECRET_NAME: Final = re.compile(r"auth|token|secret|password|api-?key|cookie|signature", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_URL_SAFE: Final = "%/:?#[]@!$&'()*+,;=~-._"
MASK: Final = "********"
_SHOWN_BODY_CHARS: Final = 4_096


class InvalidTarget(ValueError):
    """A target that cannot be sent; the message names the part, its value and what would be accepted."""


class Origin(NamedTuple):
    """Scheme, host and port: who gets to see a credential (RFC 6454)."""

    scheme: str
    host: str
    port: int


class Header(NamedTuple):
    """One header line as it goes out."""

    line: bytes
    portable: bool = True
    """May follow a redirect to another origin."""
    secret: bool = False
    """Is never shown."""


class PreparedTarget(NamedTuple):
    """All of a request that does not depend on the delivery."""

    method: str
    url: str
    origin: Origin
    headers: tuple[Header, ...]
    lines: list[bytes]
    """`wire_lines` of the headers, for deliveries that bring no payload."""
    body: bytes | None
    chooses_content_type: bool
    """The user's own headers name one; else it follows from the body."""
    success_codes: tuple[tuple[int, int], ...]


class Request(NamedTuple):
    """One hop, ready to send."""

    method: str
    url: str
    origin: Origin
    identity: list[bytes]
    """The header lines that name the delivery; they go to every hop."""
    headers: tuple[Header, ...]
    lines: list[bytes]
    """`wire_lines` of `headers`."""
    body: bytes | None


def prepare(target: HttpTarget) -> PreparedTarget:
    """Work out everything that is equal for all deliveries of `target`.

    Raises:
        InvalidTarget: URL, method or a header cannot be sent.
    """
    method = target.method.upper()
    if not _METHOD.fullmatch(method) or method in _REFUSED_METHODS:
        raise InvalidTarget(f"method {target.method!r} cannot be sent; accepted are names like GET or POST")
    url, origin, url_auth = _prepare_url(target.url)
    auth = target.auth or url_auth
    own = _auth_header(auth) if auth else {}
    taken = {name.lower() for name in own}
    for name, value in target.headers.items():
        if _is_users(name.lower()) and name.lower() not in taken:
            own[name] = value
    names = {name.lower() for name in own}
    if "user-agent" not in names:
        own["User-Agent"] = f"Chronos/{VERSION}"
    headers = tuple(_header(name, value, secret=name.lower() in taken) for name, value in own.items())
    body = encode_body(target.body) if target.body is not None else None
    chooses = "content-type" in names
    if body is not None and not chooses:
        headers = (*headers, _content_type(target.body))
    lines = wire_lines(headers, body)
    return PreparedTarget(method, url, origin, headers, lines, body, chooses, target.success_codes)


def request_for(prepared: PreparedTarget, delivery: Assignment) -> Request:
    """The first hop of a delivery, with the headers that identify it."""
    headers, lines, body = prepared.headers, prepared.lines, prepared.body
    if delivery.has_payload:
        if not prepared.chooses_content_type:
            headers = tuple(each for each in headers if not each.line.startswith(b"Content-Type:"))
        body = None if delivery.payload is None else encode_body(delivery.payload)
        if body is not None and not prepared.chooses_content_type:
            headers = (*headers, _content_type(delivery.payload))
        lines = wire_lines(headers, body)
    return Request(prepared.method, prepared.url, prepared.origin, _identity(delivery), headers, lines, body)


def wire_lines(headers: tuple[Header, ...], body: bytes | None) -> list[bytes]:
    """The lines libcurl is given; one with nothing after its colon takes a header of libcurl's own away."""
    lines = [header.line for header in headers]
    if not any(line[:13].lower() == b"content-type:" for line in lines):
        lines.append(b"Content-Type:")
    if body:
        lines.append(b"Expect:")
    return lines


def encode_body(body: Any) -> bytes:
    """Text as it is (UTF-8), anything else as JSON."""
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def parse_origin(parts: SplitResult) -> Origin:
    """Who a URL addresses.

    Raises:
        InvalidTarget: not http or https, no host, or a port out of range.
    """
    if parts.scheme not in DEFAULT_PORTS:
        raise InvalidTarget(f"url scheme {parts.scheme!r} cannot be sent; accepted are http and https")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidTarget(f"url port is not a number from 1 to 65535: {error}") from error
    if not host or port == 0:
        raise InvalidTarget("url has no usable host and port; accepted are texts like https://example.com/")
    return Origin(parts.scheme, host.rstrip("."), port or DEFAULT_PORTS[parts.scheme])


def shown(request: Request) -> RequestShown:
    """The request for a person: secrets masked, body bounded."""
    headers = {}
    for header in (*map(Header, request.identity), *request.headers):
        name, _, value = header.line.decode(errors="replace").partition(":")
        headers[name.rstrip(";")] = MASK if header.secret else value.strip()
    body = None
    if request.body is not None:
        body = request.body[:_SHOWN_BODY_CHARS].decode(errors="replace")
    return RequestShown(request.method, request.url, headers, body)


def _identity(delivery: Assignment) -> list[bytes]:
    execution_id = to_text(delivery.execution_id)
    text = (
        f"X-Chronos-Job-ID: {delivery.job_id}\n"
        f"X-Chronos-Execution-ID: {execution_id}\n"
        f"X-Chronos-Scheduled-Time: {rfc3339(delivery.fire_time)}\n"
        f"X-Chronos-Attempt: {delivery.attempt}\n"
        f"X-Chronos-Term: {delivery.term}\n"
        f"Idempotency-Key: {execution_id}"
    )
    return text.encode().split(b"\n")


@lru_cache(maxsize=256)
def rfc3339(instant_ms: int) -> str:
    """An instant as RFC 3339 in UTC; milliseconds only where there are any."""
    seconds, ms = divmod(instant_ms, 1_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def _prepare_url(text: str) -> tuple[str, Origin, BasicAuth | None]:
    if _CONTROL.search(text) or " " in text:
        raise InvalidTarget(f"url {text!r} holds control characters or spaces; write them percent-encoded")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidTarget(f"url {text!r} cannot be read: {error}") from error
    origin = parse_origin(parts)
    try:
        host = origin.host if origin.host.isascii() else origin.host.encode("idna").decode()
    except UnicodeError as error:
        raise InvalidTarget(f"url host {origin.host!r} is not a host name: {error}") from error
    origin = origin._replace(host=host)
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        netloc = f"{netloc}:{parts.port}"
    path, query = (quote(part, safe=_URL_SAFE) for part in (parts.path or "/", parts.query))
    auth = None
    if parts.username is not None:
        auth = BasicAuth(unquote(parts.username), unquote(parts.password or ""))
    return urlunsplit((parts.scheme, netloc, path, query, "")), origin, auth


def _auth_header(auth: BasicAuth | BearerAuth | ApiKeyAuth) -> dict[str, str]:
    match auth:
        case BasicAuth(username=username, password=password):
            return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}
        case BearerAuth(token=token):
            return {"Authorization": f"Bearer {token}"}
        case ApiKeyAuth(api_key=api_key, header=header):
            return {header: api_key}


def _is_users(name: str) -> bool:
    """Whether a header (in lower case) is the user's to set."""
    return not name.startswith("x-chronos-") and name not in _OURS and name not in _FRAMING


def _header(name: str, value: str, *, secret: bool) -> Header:
    if not _TOKEN.fullmatch(name):
        raise InvalidTarget(f"header name {name!r} cannot be sent; accepted are letters, digits and dashes")
    if _CONTROL.search(value):
        raise InvalidTarget(f"header {name}: its value holds control characters; accepted is one line of text")
    value = value.strip()
    # libcurl: "Name:" would remove the header, "Name;" sends it empty.
    line = f"{name}: {value}" if value else f"{name};"
    secret = secret or _SECRET_NAME.search(name) is not None
    return Header(line.encode(), name.lower() in CROSS_ORIGIN_HEADERS, secret)


def _content_type(body: Any) -> Header:
    kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    return Header(f"Content-Type: {kind}".encode())
