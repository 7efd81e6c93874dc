"""`chronosctl config`: what this program would use, and from where."""

from __future__ import annotations

import click

from chronos_common.schemas.secrets import MASK
from cli.chronosctl.session import Session, output_option, pass_session


@click.group()
def config() -> None:
    """The settings of this program."""


@config.command("show")
@output_option
@pass_session
def show(session: Session) -> None:
    """Show each setting and where it comes from; the key is masked."""
    rows = [
        {"setting": name, "value": MASK if name == "api_key" and found.value else found.value, "origin": found.origin}
        for name, found in session.settings.items()
    ]
    session.printer.rows(rows, [("SETTING", "setting"), ("VALUE", "value"), ("FROM", "origin")])
