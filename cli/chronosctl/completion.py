"""`chronosctl completion`: the script a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli.chronosctl.failures import bad_input


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script: `source <(chronosctl completion bash)`."""
    kind = get_completion_class(shell)
    if kind is None:
        raise bad_input(f"{shell!r} is not a shell this knows", "accepted: bash, zsh, fish")
    click.echo(kind(ctx.find_root().command, {}, "chronosctl", "_CHRONOSCTL_COMPLETE").source())
