"""Reading YAML that a stranger may have written: plain data only, bounded, no key twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_VALUES: Final = 1_000_000
"""Of a document, counted as if every alias were written out."""


class BadYaml(ValueError):
    """A text that is no acceptable YAML; the message names the line."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that bounds what aliases multiply, refuses a key given twice, and leaves dates the text they are."""

    def construct_document(self, node: yaml.Node) -> Any:
        if _values(node, {}) > MAX_VALUES:
            raise BadYaml(f"more than {MAX_VALUES} values when every alias is written out")
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<`, which the base class unfolds
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise BadYaml(f"line {key_node.start_mark.line + 1}: a key must be text, not {key!r}")
            if key in seen:
                raise BadYaml(f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> list[Any]:
    """Every document of a YAML (or JSON) text.

    Raises:
        BadYaml: not YAML, an executing tag, too large, or a key given twice.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadYaml(f"larger than {MAX_BYTES} bytes")
    try:
        return list(_documents(text))
    except yaml.YAMLError as error:
        raise BadYaml(_sentence(error)) from error
    except RecursionError as error:
        raise BadYaml("nested too deeply") from error


def _documents(text: str) -> Iterator[Any]:
    loader: Any = _Loader(text)
    try:
        while loader.check_data():
            yield loader.get_data()
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds with its aliases written out; `known` are the nodes counted before."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = -1
        pairs = isinstance(node, yaml.MappingNode)
        below = [child for pair in node.value for child in pair] if pairs else node.value
        known[id(node)] = 1 + sum(_values(child, known) for child in below)
    elif known[id(node)] < 0:
        raise BadYaml(f"line {node.start_mark.line + 1}: a value that contains itself")
    return known[id(node)]


def _sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
