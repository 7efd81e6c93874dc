"""Backup and restore of the whole cluster. A backup holds every secret unmasked, so all of it needs scope admin."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.backup_stream import open_backup
from chronos_api.blueprint import Blueprint
from chronos_api.calls import propose, services
from chronos_api.documenting import IDEMPOTENCY_KEY, problems
from chronos_api.guard import needs
from chronos_common.backups import MAX_PIECE_BYTES, RESTORED_TABLES
from chronos_common.commands import AbortRestore, BeginRestore, EndRestore, RestoreChange, RestoreRows
from chronos_common.protocol import RestoreState
from chronos_common.schemas.fields import Choice, Flag, Instant, Strict, Text, Whole, instant_text, refuse

CONTENT_TYPE: Final = "application/vnd.chronos.backup"
_MOST: Final = 2**53
_STEPS_PER_REQUEST: Final = 20
_SHA256: Final = {"pattern": "^[0-9a-f]{64}$"}
_OPEN: Final = {
    "X-Chronos-Index": {"description": "The log index the backup is of.", "schema": {"type": "integer"}},
    "X-Chronos-Taken-At": {"description": "When it was taken.", "schema": {"type": "string", "format": "date-time"}},
}

blueprint = Blueprint("backups", "backups", url_prefix="/api/v1/cluster", description="Backup and restore.")


class _Hex(Text):
    """A SHA-256 in hex."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(shortest=64, longest=64, metadata=dict(_SHA256), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if set(text) - set("0123456789abcdef"):
            raise refuse(f"is {text!r:.70}", "a SHA-256 as 64 digits 0-9 a-f")
        return text


class _Bytes(fields.Field[bytes]):
    """Bytes as base64."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"type": "string", "format": "byte"}, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bytes:
        try:
            data = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise refuse(f"is {value!r:.40}", "base64 (RFC 4648, 4)") from None
        if not 1 <= len(data) <= MAX_PIECE_BYTES:
            raise refuse(f"is {len(data)} bytes", f"1 to {MAX_PIECE_BYTES}")
        return data


class _Rows(fields.Field[dict[str, int]]):
    """How many rows of each table."""

    def __init__(self, **kwargs: Any) -> None:
        count = {"type": "integer", "minimum": 1, "maximum": _MOST}
        properties = dict.fromkeys(RESTORED_TABLES, count)
        super().__init__(
            metadata={"type": "object", "properties": properties, "additionalProperties": False}, **kwargs
        )

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, int]:
        if not isinstance(value, dict) or not value.keys() <= set(RESTORED_TABLES):
            raise refuse(f"is {value!r:.60}", f"an object of {', '.join(RESTORED_TABLES)}")
        if any(type(count) is not int or not 1 <= count <= _MOST for count in value.values()):
            raise refuse("has a count that is none", "whole numbers from 1 on")
        return value


class BeginBody(Strict):
    """What the backup's own description says of it."""

    backup = _Hex(required=True)
    schema = Text(longest=40, shortest=1, required=True)
    index = Whole(low=0, high=_MOST, required=True)
    taken_at = Instant(required=True)


class PieceBody(Strict):
    """One piece of the rows; `more`: its batch goes on in the next one."""

    backup = _Hex(required=True)
    number = Whole(low=1, high=_MOST, required=True)
    data = _Bytes(required=True)
    more = Flag(load_default=False)


class EndBody(Strict):
    """What was sent: rows by table, and the digest that runs over all pieces."""

    backup = _Hex(required=True)
    rows = _Rows(required=True)
    chain = _Hex(required=True)


class RestoreAnswer(Schema):
    """How far the restore is."""

    state = Choice("open", "clearing", "done", "none")
    backup = fields.String()
    pieces = fields.Integer(metadata={"description": "Pieces taken so far; the next one has the number after it."})
    rows = fields.Integer()


@blueprint.route("/backup")
class Backup(MethodView):
    """Taking a backup."""

    @needs("admin")
    @blueprint.response(
        200, {"type": "string", "format": "binary"}, content_type=CONTENT_TYPE, headers=_OPEN,
        description="The backup, as `chronosctl backup` keeps it.",
    )  # fmt: skip
    @problems(blueprint, 409)
    def get(self) -> Response:
        """Have a worker copy all rows as of now, and send the copy. 503 with Retry-After while it is being made."""
        backup = open_backup(services().client)
        response = Response(iter(backup), content_type=CONTENT_TYPE)
        response.call_on_close(backup.close)
        response.headers["Content-Length"] = str(backup.ready.size)
        response.headers["X-Chronos-Index"] = str(backup.ready.index)
        response.headers["X-Chronos-Taken-At"] = instant_text(backup.ready.taken_at)
        return response


@blueprint.route("/restore")
class Restore(MethodView):
    """Beginning a restore, or giving it up."""

    @needs("admin")
    @blueprint.arguments(BeginBody)
    @blueprint.response(200, RestoreAnswer)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Begin to fill an empty cluster from a backup, or learn how far that is."""
        return _step(BeginRestore(body["backup"], body["schema"], body["index"], body["taken_at"]))

    @needs("admin")
    @blueprint.response(200, RestoreAnswer)
    @problems(blueprint)
    def delete(self) -> Response:
        """Take back what was restored so far; repeat while the state is `clearing`."""
        response = _step(AbortRestore(), part="0")
        for number in range(1, _STEPS_PER_REQUEST):
            if response.json["state"] != "clearing":  # type: ignore[index]
                break
            response = _step(AbortRestore(), part=str(number))
        return response


@blueprint.route("/restore/rows")
class Rows(MethodView):
    """The rows themselves."""

    @needs("admin")
    @blueprint.arguments(PieceBody)
    @blueprint.response(200, RestoreAnswer)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Restore the next piece; one that was taken before changes nothing."""
        return _step(RestoreRows(body["backup"], body["number"], body["data"], body["more"]))


@blueprint.route("/restore/end")
class End(MethodView):
    """Ending a restore."""

    @needs("admin")
    @blueprint.arguments(EndBody)
    @blueprint.response(200, RestoreAnswer)
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY])
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Compare what was sent with what arrived; from then on the cluster works with it."""
        return _step(EndRestore(body["backup"], body["rows"], bytes.fromhex(body["chain"])))


def _step(change: RestoreChange, part: str = "") -> Response:
    found = propose(change, part=part).answer
    if not isinstance(found, RestoreState):
        raise TypeError(f"the worker answered with {type(found).__name__}")
    return answer({"state": found.state, "backup": found.backup, "pieces": found.pieces, "rows": found.rows})
