"""`chronosctl cluster`: how the workers are, and what an operator may ask of them."""

from __future__ import annotations

from urllib.parse import quote

import click

from cli.chronosctl.session import Session, output_option, pass_session

LEVELS = ("debug", "info", "warning", "error")


@click.group()
def cluster() -> None:
    """The workers."""


@cluster.command("status")
@output_option
@pass_session
def cluster_status(session: Session) -> None:
    """Show every worker's role, progress and problems."""
    found = session.api.get("/cluster/status")
    printer = session.printer
    if printer.format != "table":
        printer.data(found)
        return
    quorum = "has a quorum" if found["has_quorum"] else "has NO quorum: nothing can be changed"
    leader, term = found["leader"] or "-", found["term"] or "-"
    level = found.get("level") or "-"
    click.echo(f"cluster {found['cluster_id'] or '-'}: leader {leader}, term {term}, command level {level}, {quorum}")
    columns = [
        ("NODE", "node_id"), ("ROLE", "role"), ("READY", "ready"), ("APPLIED", "applied_index"), ("AGE MS", "age_ms"),
        ("IN FLIGHT", "in_flight"), ("SEATS", "seats"), ("VERSION", "version"), ("CLOCK MS", "clock_skew_ms"),
        ("URL", "url"), ("PROBLEMS", "problems"),
    ]  # fmt: skip
    printer.rows(found["workers"], columns, empty="no worker is known")
    click.echo()
    columns = [("MEMBER", "node_id"), ("RAFT ADDRESS", "address"), ("VOTES", "votes")]
    printer.rows(found["members"], columns, empty="no member is known")
    click.echo()
    columns = [
        ("KNOWN NODE", "node_id"),
        ("STATE", "state"),
        ("SEATS", "seats"),
        ("LIFE", "incarnation"),
        ("READS", "reads"),
    ]
    printer.rows(found["nodes"], columns, empty="no node has registered")


@cluster.command("add")
@click.argument("node")
@click.argument("address")
@output_option
@pass_session
def add(session: Session, node: str, address: str) -> None:
    """Let NODE in, whose Raft port is at ADDRESS (host:port); for a member: change its address.

    It is sent everything first and votes as soon as it has caught up: see `chronosctl cluster status`.
    """
    found = session.api.post("/cluster/members", {"node_id": node, "address": address})
    session.printer.done(found["message"], found)


@cluster.command("remove")
@click.argument("node")
@output_option
@pass_session
def remove(session: Session, node: str) -> None:
    """Take NODE off the list of members for good; a leader hands over first.

    Stop it before, so that what it runs is finished. Its data is of no use to another cluster.
    """
    found = session.api.call("DELETE", f"/cluster/members/{quote(node, safe='')}").data
    session.printer.done(found["message"], found)


@cluster.command("transfer-leadership")
@click.option("--to", "node", metavar="NODE", help="Who is to lead; else the most advanced other member.")
@output_option
@pass_session
def transfer_leadership(session: Session, node: str | None) -> None:
    """Ask the leader to hand over."""
    found = session.api.post("/cluster/transfer-leadership", {"to": node} if node else {})
    session.printer.done(found["message"], found)


@cluster.command("verify")
@click.option("--wait", default="30s", show_default=True, help="How long to wait for every live worker.")
@output_option
@pass_session
def verify(session: Session, wait: str) -> None:
    """Compare the rows of all live workers at one log index; status 1 if they differ or one is silent."""
    found = session.api.post("/cluster/verify", {"wait": wait})
    printer = session.printer
    if printer.format != "table":
        printer.data(found)
    else:
        printer.rows(
            found["digests"],
            [("NODE", "node_id"), ("SCHEMA", "schema"), ("SHA-256 OF ITS ROWS", "sha256")],
            empty="none",
        )
        verdict = "all live workers hold the same rows" if found["agrees"] else "the workers do NOT agree"
        silent = f"; no answer from {', '.join(found['missing'])}" if found["missing"] else ""
        click.echo(f"at index {found['index']}: {verdict}{silent}")
    if not found["agrees"]:
        raise SystemExit(1)


@cluster.command("snapshot")
@output_option
@pass_session
def snapshot(session: Session) -> None:
    """Have a worker make its state durable and cut its log."""
    found = session.api.post("/cluster/snapshot")
    session.printer.done(found["message"], found)


@cluster.command("log-level")
@click.argument("level", type=click.Choice(LEVELS))
@output_option
@pass_session
def log_level(session: Session, level: str) -> None:
    """Change a worker's log level until it restarts."""
    found = session.api.call("PUT", "/cluster/log-level", body={"level": level}).data
    session.printer.done(found["message"], found)
