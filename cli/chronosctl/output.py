"""Printing answers: a table for people, JSON and YAML for programs. Colours only where a terminal wants them."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import yaml

FORMATS: Final = ("table", "json", "yaml")
_COLOURS: Final = {
    "succeeded": "green", "scheduled": "green", "leader": "green", "live": "green", "created": "green",
    "running": "cyan", "pending": "cyan", "updated": "cyan", "skipped": "yellow", "cancelled": "yellow",
    "disabled": "yellow", "draining": "yellow", "exhausted": "yellow", "timed_out": "red", "failed": "red",
    "lost": "red", "rejected": "red",
}  # fmt: skip
_LONGEST_CELL: Final = 120

Column = tuple[str, str]
"""A heading, and the path to the value: "webhook.url"."""


class Printer:
    """Writes answers to stdout in one format; notes for people go to stderr."""

    def __init__(self, format_: str = "table", *, colours: bool = False) -> None:
        self.format = format_
        self.colours = colours

    def rows(self, items: Iterable[dict[str, Any]], columns: Sequence[Column], *, empty: str = "nothing") -> None:
        """A list: one line each in a table, one array in JSON and YAML."""
        found = list(items)
        if self.format != "table":
            self.data(found)
        elif found:
            table = [[heading for heading, _ in columns]]
            table += [[cell(at(item, path)) for _, path in columns] for item in found]
            for line in self._lines(table):
                click.echo(line, color=self.colours)
        else:
            self.note(empty)

    def record(self, item: dict[str, Any]) -> None:
        """One thing with all its fields; in a table as indented names and values."""
        if self.format != "table":
            self.data(item)
            return
        for line in yaml_text(item).splitlines():
            name, colon, value = line.partition(": ")
            click.echo(f"{name}{colon}{self.coloured(value)}" if colon else line, color=self.colours)

    def data(self, value: Any) -> None:
        """A value as JSON, or as YAML."""
        if self.format == "json":
            click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        else:
            click.echo(yaml_text(value), nl=False)

    def done(self, sentence: str, item: Any) -> None:
        """What a write did: a sentence in a table, else the answer itself."""
        if self.format == "table":
            click.echo(sentence)
        else:
            self.data(item)

    def line(self, item: dict[str, Any], columns: Sequence[Column], widths: Sequence[int]) -> None:
        """One row of an endless table, or one line of JSON."""
        if self.format == "table":
            cells = [cell(at(item, path)) for _, path in columns]
            padded = [self.coloured(text, text + " " * max(0, w - _width(text))) for text, w in zip(cells, widths)]  # noqa: B905 - the last column has no width
            click.echo("  ".join([*padded, *cells[len(widths) :]]).rstrip(), color=self.colours)
        elif self.format == "json":
            click.echo(json.dumps(item, ensure_ascii=False))
        else:
            click.echo("---\n" + yaml_text(item), nl=False)
        sys.stdout.flush()

    def diff(self, lines: Iterable[str]) -> None:
        """The lines of a unified diff, coloured by their first sign."""
        for line in lines:
            colour = {"-": "red", "+": "green", "@": "cyan"}.get(line[:1]) if self.colours else None
            click.echo(click.style(line, fg=colour) if colour else line, color=self.colours)

    def note(self, text: str) -> None:
        """Something a person wants to know that is no part of the answer."""
        click.echo(text, err=True)

    def coloured(self, word: str, shown: str | None = None) -> str:
        """A status in its colour; any other word as it is."""
        text = word if shown is None else shown
        colour = _COLOURS.get(word) if self.colours else None
        return click.style(text, fg=colour) if colour else text

    def _lines(self, table: list[list[str]]) -> Iterable[str]:
        widths = [max(_width(text) for text in column) for column in zip(*table, strict=True)]
        for row in table:
            padded = [
                self.coloured(text, text + " " * (width - _width(text)))
                for text, width in zip(row, widths, strict=True)
            ]
            yield "  ".join(padded).rstrip()


def yaml_text(value: Any) -> str:
    """A value as YAML, keys in the order given."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100))


def at(item: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def cell(value: Any) -> str:
    """A value as one short line without control characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = ",".join(f"{name}={inner}" for name, inner in value.items()) or "-"
    elif isinstance(value, list):
        value = ", ".join(str(inner) for inner in value) or "-"
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
