"""docs/cli.md against the program: every line in it is understood, and nothing is left out of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chronos_common.errors import BY_CODE
from cli.chronosctl.failures import UNSUCCESSFUL
from cli.chronosctl.main import chronosctl

TEXT = Path("docs/cli.md").read_text(encoding="utf-8")


def documented() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    found = []
    for line in "".join(blocks).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>()&")
        lexer.whitespace_split = True
        words: list[str] | None = None
        for word in [*lexer, "|"]:
            if words is not None and set(word) <= set("|<>()&"):
                found.append(words)
                words = None
            elif words is not None:
                words.append(word)
            elif word == "chronosctl":
                words = []
    return found


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_the_document_was_read():
    assert len(documented()) > 40


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_a_documented_line_is_understood(words):
    command: click.Command = chronosctl
    context = command.make_context("chronosctl", list(words))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command = found
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("name", "command"), list(commands(chronosctl)), ids=str)
def test_every_command_and_option_is_documented(name, command):
    assert f"chronosctl {name}" in TEXT
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", TEXT) for flag in parameter.opts), (
                parameter
            )


def test_every_exit_status_is_documented():
    for status in {UNSUCCESSFUL, 0, 130, *(kind.exit_status for kind in BY_CODE.values())}:
        assert f"| {status} | " in TEXT
