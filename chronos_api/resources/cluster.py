"""The cluster: how it is, and what an operator may ask of it."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from chronos_api.answers import answer
from chronos_api.blueprint import Blueprint
from chronos_api.calls import services
from chronos_api.documenting import problems
from chronos_api.guard import needs
from chronos_common.logs import LEVELS
from chronos_common.protocol import (
    AddMember,
    AdminCall,
    ClockReading,
    CompareReplicas,
    Done,
    RemoveMember,
    ReplicasCompared,
    SetLogLevel,
    TakeSnapshot,
    TransferLeadership,
    WorkerStatus,
)
from chronos_common.schemas.fields import Choice, Duration, Instant, Strict, Text, instant_text

blueprint = Blueprint("cluster", "cluster", url_prefix="/api/v1/cluster", description="The workers.")


class MemberAnswer(Schema):
    """One worker, as it sees itself; only url and reachable if it does not answer."""

    url = fields.String()
    reachable = fields.Boolean()
    node_id = fields.String()
    incarnation = fields.Integer()
    version = fields.String()
    role = Choice("leader", "follower", "candidate")
    ready = fields.Boolean()
    has_quorum = fields.Boolean()
    term = fields.Integer()
    commit_index = fields.Integer()
    applied_index = fields.Integer()
    age_ms = fields.Integer()
    in_flight = fields.Integer()
    seats = fields.Integer()
    breakers_open = fields.Integer()
    journal_bytes = fields.Integer()
    database_bytes = fields.Integer()
    clock_skew_ms = fields.Integer(
        allow_none=True,
        metadata={"description": "Its wall clock minus the leader's, as the leader measures it; null: not measured."},
    )
    clock_error_ms = fields.Integer(
        allow_none=True,
        metadata={"description": "By how much the measured skew may be wrong: half the time it took to ask."},
    )
    started_at = Instant()
    problems = fields.List(fields.String())


class NodeAnswer(Schema):
    """A node as the replicated rows know it."""

    node_id = fields.String()
    incarnation = fields.Integer()
    state = Choice("live", "draining", "lost", "left")
    seats = fields.Integer()
    version = fields.String()
    reads = fields.Integer(metadata={"description": "The highest level of commands that it reads."})


class PeerAnswer(Schema):
    """A member, as the list in force says."""

    node_id = fields.String()
    address = fields.String(metadata={"description": "Where the others reach its Raft port."})
    votes = fields.Boolean(metadata={"description": "Whether it elects and counts; a newcomer first catches up."})


class ClusterAnswer(Schema):
    """The cluster as seen through all workers this API process knows."""

    cluster_id = fields.String(allow_none=True)
    leader = fields.String(allow_none=True)
    term = fields.Integer(allow_none=True)
    has_quorum = fields.Boolean()
    members = fields.List(fields.Nested(PeerAnswer))
    level = fields.Integer(
        allow_none=True, metadata={"description": "The highest level of commands in use: every member reads it."}
    )
    workers = fields.List(fields.Nested(MemberAnswer))
    nodes = fields.List(fields.Nested(NodeAnswer))


class TransferBody(Strict):
    """Who is to lead; the most advanced other member, if left out."""

    to = Text(longest=128, shortest=1)


class AddBody(Strict):
    """A node to let in, or a member whose address changed."""

    node_id = Text(longest=128, shortest=1, required=True)
    address = Text(longest=300, shortest=3, required=True, metadata={"description": "host:port of its Raft port."})


class LevelBody(Strict):
    """How much to log."""

    level = Choice(*LEVELS, required=True)


class VerifyBody(Strict):
    """How long to wait for every live worker's answer."""

    wait = Duration(low=1_000, high=300_000, load_default=30_000)


class DigestAnswer(Schema):
    """The SHA-256 of all of one worker's rows, in hex."""

    node_id = fields.String()
    sha256 = fields.String()
    schema = fields.String(metadata={"description": "The schema of its rows; only equal ones are compared."})


class VerifyAnswer(Schema):
    """What the workers found at one log index."""

    index = fields.Integer()
    agrees = fields.Boolean(metadata={"description": "Whether every live worker answered, and all the same."})
    digests = fields.List(fields.Nested(DigestAnswer))
    missing = fields.List(fields.String(), metadata={"description": "Live workers that did not answer in time."})


class DoneAnswer(Schema):
    """What was begun."""

    message = fields.String()


@blueprint.route("/status")
class Status(MethodView):
    """How the cluster is."""

    @needs("read")
    @blueprint.response(200, ClusterAnswer)
    @problems(blueprint)
    def get(self) -> Response:
        """Every worker's role, progress and problems, and every node the cluster knows."""
        return answer(cluster_answer(services().client.statuses()))


@blueprint.route("/transfer-leadership")
class Transfer(MethodView):
    """Handing leadership over."""

    @needs("admin")
    @blueprint.arguments(TransferBody, required=False)
    @blueprint.response(202, DoneAnswer)
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Ask the leader to hand over."""
        return _ask(TransferLeadership(body.get("to")), to_leader=True)


@blueprint.route("/members")
class Members(MethodView):
    """Letting nodes in."""

    @needs("admin")
    @blueprint.arguments(AddBody)
    @blueprint.response(202, DoneAnswer)
    @problems(blueprint, 409, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Add a node, which votes as soon as it has caught up, or change a member's address."""
        return _ask(AddMember(body["node_id"], body["address"]), to_leader=True)


@blueprint.route("/members/<string:node_id>")
class MemberById(MethodView):
    """Taking nodes out."""

    @needs("admin")
    @blueprint.response(202, DoneAnswer)
    @problems(blueprint, 409)
    def delete(self, node_id: str) -> Response:
        """Remove a member for good. A leader hands over first."""
        return _ask(RemoveMember(node_id), to_leader=True)


@blueprint.route("/snapshot")
class Snapshot(MethodView):
    """Cutting the log."""

    @needs("admin")
    @blueprint.response(202, DoneAnswer)
    @problems(blueprint)
    def post(self) -> Response:
        """Have one worker make its state durable and cut its log behind it."""
        return _ask(TakeSnapshot())


@blueprint.route("/verify")
class Verify(MethodView):
    """Comparing the replicas."""

    @needs("admin")
    @blueprint.arguments(VerifyBody, required=False)
    @blueprint.response(200, VerifyAnswer)
    @problems(blueprint, 413, 415)
    def post(self, body: dict[str, Any]) -> Response:
        """Have every live worker digest its rows at the same log index, and wait for what they find."""
        wait_ms = body.get("wait", 30_000)
        reply = services().client.admin(CompareReplicas(wait_ms), timeout_s=wait_ms / 1_000 + 2)
        if not isinstance(reply, ReplicasCompared):
            raise TypeError(f"the worker answered with {type(reply).__name__}")
        found = {
            "index": reply.index,
            "agrees": reply.agrees and not reply.missing,
            "digests": [
                {"node_id": name, "sha256": digest, "schema": reply.schemas[name]}
                for name, digest in sorted(reply.digests.items())
            ],
            "missing": list(reply.missing),
        }
        return answer(found)


@blueprint.route("/log-level")
class LogLevel(MethodView):
    """Logging more or less."""

    @needs("admin")
    @blueprint.arguments(LevelBody)
    @blueprint.response(202, DoneAnswer)
    @problems(blueprint, 413, 415)
    def put(self, body: dict[str, Any]) -> Response:
        """Change one worker's log level until it restarts."""
        return _ask(SetLogLevel(body["level"]))


def _ask(call: AdminCall, *, to_leader: bool = False) -> Response:
    reply = services().client.admin(call, to_leader=to_leader)
    if not isinstance(reply, Done):
        raise TypeError(f"the worker answered with {type(reply).__name__}")
    return answer({"message": reply.message}, 202)


def cluster_answer(statuses: dict[str, WorkerStatus | None]) -> dict[str, Any]:
    """All workers' views put together; of the cluster's own rows the most recent are shown."""
    known = [status for status in statuses.values() if status is not None]
    newest = max(known, key=lambda status: status.applied_index, default=None)
    leader = max((s for s in known if s.role == "leader" and s.has_quorum), key=lambda s: s.term, default=None)
    clocks = {clock.node_id: clock for clock in leader.clocks} if leader else {}
    if leader:
        clocks[leader.node_id] = ClockReading(leader.node_id, 0, 0)
    return {
        "cluster_id": newest.cluster_id if newest else None,
        "leader": leader.node_id if leader else None,
        "term": leader.term if leader else None,
        "has_quorum": leader is not None,
        "members": [
            {"node_id": peer.node_id, "address": peer.address, "votes": peer.votes}
            for peer in (leader or newest).peers
        ]
        if newest
        else [],
        "level": newest.level if newest else None,
        "workers": [_member(url, status, clocks) for url, status in statuses.items()],
        "nodes": [
            {
                "node_id": node.node_id,
                "incarnation": node.incarnation,
                "state": node.state.value,
                "seats": node.seats,
                "version": node.version,
                "reads": node.reads,
            }
            for node in (newest.nodes if newest else ())
        ],
    }


def _member(url: str, status: WorkerStatus | None, clocks: dict[str, ClockReading]) -> dict[str, Any]:
    if status is None:
        return {"url": url, "reachable": False, "problems": ["does not answer"]}
    clock = clocks.get(status.node_id)
    return {
        "url": url,
        "reachable": True,
        "node_id": status.node_id,
        "incarnation": status.incarnation,
        "version": status.version,
        "role": status.role,
        "ready": status.ready,
        "has_quorum": status.has_quorum,
        "term": status.term,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "age_ms": status.age_ms,
        "in_flight": status.in_flight,
        "seats": status.seats,
        "breakers_open": status.breakers_open,
        "journal_bytes": status.journal_bytes,
        "database_bytes": status.database_bytes,
        "clock_skew_ms": clock.offset_ms if clock else None,
        "clock_error_ms": clock.error_ms if clock else None,
        "started_at": instant_text(status.started_at),
        "problems": list(status.problems),
    }
