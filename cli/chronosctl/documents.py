"""Reading what users hand in: YAML or JSON files, several documents in one, or stdin as `-`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chronos_common.config import BadYaml, read_yaml
from chronos_common.config.yaml_text import MAX_BYTES
from cli.chronosctl.failures import bad_input


class Document(NamedTuple):
    """A job document, and where it came from: "jobs.yaml, document 3"."""

    body: dict[str, Any]
    source: str


def read_documents(paths: Sequence[str]) -> list[Document]:
    """All documents of the files, in order. A list in a file counts as its items; empty documents as none.

    Raises:
        CliError: a file cannot be read, is no YAML or JSON, holds something else than mappings, or there is nothing.
    """
    found = [document for path in paths for document in _of_file(path)]
    if not found:
        raise bad_input(f"{', '.join(_shown(path) for path in paths)}: there is no document in it")
    return found


def read_value(text: str) -> Any:
    """A payload given on the command line: `@FILE`, `-`, or the JSON itself; what is no JSON is text.

    Raises:
        CliError: the file cannot be read, or the JSON is nested too deeply.
    """
    if text == "-" or text.startswith("@"):
        text = read_text(text if text == "-" else text[1:])
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise bad_input("the payload is nested too deeply") from error


def read_text(path: str) -> str:
    """The text of a file, or of stdin if it is `-`.

    Raises:
        CliError: it cannot be read, is too large, or is no UTF-8.
    """
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise bad_input(f"{_shown(path)} is larger than {MAX_BYTES} bytes", "accepted: several smaller files")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_input(f"{_shown(path)} is not UTF-8 text: byte {error.start}") from error
    except (OSError, ValueError) as error:
        raise bad_input(f"{_shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _of_file(path: str) -> list[Document]:
    try:
        documents = read_yaml(read_text(path))
    except BadYaml as error:
        raise bad_input(f"{_shown(path)} is no acceptable YAML or JSON: {error}") from error
    found = []
    for number, document in enumerate(documents, 1):
        many = isinstance(document, list)
        for place, body in enumerate(document if isinstance(document, list) else [document], 1):
            source = f"{_shown(path)}, document {number}" + (f", item {place}" if many else "")
            if body is None and not many:
                continue
            if not isinstance(body, dict):
                kind = type(body).__name__
                raise bad_input(f"{source} is a {kind}, not a job", "accepted: a mapping with name and webhook")
            found.append(Document(body, source))
    return found


def _shown(path: str) -> str:
    return "stdin" if path == "-" else path
