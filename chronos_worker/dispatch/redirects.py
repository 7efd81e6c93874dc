"""PURE: where a redirect leads, and what may go along.

libcurl's own following is switched off: headers it was given (an `Authorization` or `X-API-Key` among
them) would go to whatever host a redirect names. Here every hop is a new request, checked again.

Methods change as in RFC 9110 §15.4 and browsers: 303 makes anything but HEAD a GET, 301 and 302 make a
POST a GET, 307 and 308 change nothing.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urldefrag, urlsplit

from chronos_worker.dispatch.request import InvalidTarget, Origin, Request, parse_origin, wire_lines

STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_MAX_URL_CHARS: Final = 8_192


class ForbiddenRedirect(Exception):
    """The redirect leads where no webhook may go; the message says why."""


def next_hop(sent: Request, http_status: int, url: str) -> Request:
    """The request that follows a redirect of `sent` to the absolute `url`.

    Raises:
        ForbiddenRedirect: the new URL is not one of http or https, or cannot be read.
    """
    url = urldefrag(url).url
    if len(url) > _MAX_URL_CHARS:
        raise ForbiddenRedirect(f"redirected to a URL of {len(url)} characters; accepted are {_MAX_URL_CHARS}")
    try:
        origin = parse_origin(urlsplit(url))
    except (InvalidTarget, ValueError) as error:
        raise ForbiddenRedirect(f"redirected to {url!r}: {error}") from error
    method, body, headers = sent.method, sent.body, sent.headers
    if (http_status == 303 and method != "HEAD") or (http_status in (301, 302) and method == "POST"):  # noqa: PLR2004
        method, body = "GET", None
        headers = tuple(each for each in headers if not each.line.lower().startswith(b"content-"))
    if not _same_origin(sent.origin, origin):
        headers = tuple(each for each in headers if each.portable)
    return Request(method, url, origin, sent.identity, headers, wire_lines(headers, body), body)


def _same_origin(old: Origin, new: Origin) -> bool:
    """Whether credentials may go along: the same origin, or its upgrade from http:80 to https:443."""
    return old == new or (old == ("http", old.host, 80) and new == ("https", old.host, 443))
