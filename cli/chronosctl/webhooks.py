"""`chronosctl webhook`: does the target answer?"""

from __future__ import annotations

import click

from cli.chronosctl.documents import read_documents
from cli.chronosctl.failures import UNSUCCESSFUL, CliError, bad_input
from cli.chronosctl.session import Session, output_option, pass_session


@click.group()
def webhook() -> None:
    """Does the target answer?"""


@webhook.command("test")
@click.option(
    "-f", "--file", "path", required=True, metavar="FILE",
    help="YAML or JSON with a webhook (url, method, headers, body, auth), or with a whole job; - is stdin.",
)  # fmt: skip
@click.option("--timeout", default="10s", show_default=True, help="How long to wait for the answer.")
@output_option
@pass_session
def test_webhook(session: Session, path: str, timeout: str) -> None:
    """Send a webhook once, from a worker, and show request, response and timings; exit status 7 without answer."""
    documents = read_documents([path])
    if len(documents) > 1:
        raise bad_input(f"{path} holds {len(documents)} documents", "accepted: one webhook or one job")
    body = documents[0].body
    found = session.api.post("/webhooks/test", {"webhook": body.get("webhook", body), "timeout": timeout})
    session.printer.record(found)
    if found["error"] or found["error_code"]:
        raise CliError(f"no answer: {found['error'] or found['error_code']}", UNSUCCESSFUL)
