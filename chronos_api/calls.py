"""What every endpoint does with the cluster: propose with idempotency, read with the promise asked for."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any, Final

from flask import current_app, g, request

from chronos_api.cluster_client import ClusterClient
from chronos_api.settings import ApiSettings
from chronos_common.commands import Change
from chronos_common.errors import InvalidRequest, NotFound, Violation
from chronos_common.protocol import Outcome, Read, decode_result

EXTENSION: Final = "chronos"
_SAFE: Final = frozenset({"GET", "HEAD"})
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_TOKEN: Final = re.compile(r"[0-9]{1,18}")


class Services:
    """What the app's endpoints share."""

    def __init__(self, client: ClusterClient, settings: ApiSettings) -> None:
        self.client = client
        self.settings = settings


def services() -> Services:
    """The current app's services."""
    found: Services = current_app.extensions[EXTENSION]
    return found


def propose(change: Change, *, part: str = "", of: bytes = b"") -> Outcome:
    """Have a change made under this request's command id.

    `part` tells several changes of one request apart; `of` says what a part holds, where that does not follow
    from the request alone.
    """
    outcome = services().client.propose(
        change, command_id=command_id() + part, fingerprint=fingerprint(of), principal=g.principal
    )
    g.index = outcome.index
    return outcome


def read(what: Read) -> Any:
    """The result of a read, with the consistency this request asks for.

    What a change is made from is confirmed by a majority in any case: a worker that lags, because it was paused or
    cut off, would deny a job that was acknowledged, or take its last version but one for the newest.
    """
    strong = _strong() or request.method not in _SAFE
    found = services().client.query(what, min_index=_min_index(), strong=strong)
    g.index, g.age_ms = found.index, found.age_ms
    return decode_result(what, found)


def read_or_404(what: Read, noun: str, name: object) -> Any:
    """The result of a read.

    Raises:
        NotFound: it is None.
    """
    found = read(what)
    if found is None:
        raise NotFound(f"there is no {noun} {str(name)!r:.80}")
    return found


def command_id() -> str:
    """This request's command id: its Idempotency-Key, told apart by principal; a fresh one without."""
    if "command_id" not in g:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            g.command_id = uuid.uuid4().hex
        elif _KEY.fullmatch(key):
            g.command_id = hashlib.sha256(f"{g.principal}\0{key}".encode()).hexdigest()
        else:
            raise _bad_header("Idempotency-Key", "is not acceptable", "1 to 255 printable ASCII characters")
    found: str = g.command_id
    return found


def fingerprint(of: bytes = b"") -> bytes:
    """A digest of what is asked, so that a key reused for something else is noticed."""
    if "asked" not in g:
        asked = b"\0".join((request.method.encode(), request.full_path.encode(), request.get_data(cache=True)))
        g.asked = hashlib.sha256(asked).digest()
    return hashlib.sha256(g.asked + of).digest()[:16]


def expected_version() -> int | None:
    """The job version If-Match names; None for any.

    Raises:
        InvalidRequest: it is no ETag of ours.
    """
    text = request.headers.get("If-Match")
    if text is None or text.strip() == "*":
        return None
    tag = text.strip().removeprefix("W/").strip('"')
    if not _TOKEN.fullmatch(tag):
        raise _bad_header("If-Match", f"is {text!r:.60}", 'the ETag of a job, such as "3", or *')
    return int(tag)


def _min_index() -> int:
    text = request.headers.get("X-Chronos-Min-Index", "0")
    if not _TOKEN.fullmatch(text):
        raise _bad_header("X-Chronos-Min-Index", f"is {text!r:.60}", "an X-Chronos-Index of an earlier answer")
    return int(text)


def _strong() -> bool:
    return bool(request.query_string) and request.args.get("consistency") == "strong"


def _bad_header(name: str, problem: str, accepted: str) -> InvalidRequest:
    return InvalidRequest(
        f"the header {name} {problem}", violations=(Violation(f"#header/{name}", problem, accepted),)
    )
