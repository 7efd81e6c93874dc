"""`chronos keys`: API keys, shown once."""

from __future__ import annotations

import click
import yaml

from chronos_common.api_keys import hash_key, new_key


@click.group()
def keys() -> None:
    """API keys."""


@keys.command("new")
@click.option("--name", required=True, help="Who will use it; shown in logs and limits.")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), default="read", show_default=True)
def new(name: str, scope: str) -> None:
    """Make an API key: print it once, and the lines for the configuration that know it by its hash."""
    key = new_key()
    lines = yaml.safe_dump(
        {"auth": {"keys": [{"name": name, "hash": hash_key(key), "scope": scope}]}},
        sort_keys=False,
        allow_unicode=True,
        width=1_000,
    )
    click.echo(f"The key, shown this once:\n\n    {key}\n\nFor the configuration of every API process:\n")
    click.echo("".join(f"    {line}\n" for line in lines.splitlines()), nl=False)
