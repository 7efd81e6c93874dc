"""Reading YAML that a stranger may have written: plain data only, bounded, no key twice."""

from __future__ import annotations

from typing import Any, Final

import yaml

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ALIASES: Final = 100


class BadYaml(ValueError):
    """A text that is no acceptable YAML; the message names the line."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that counts aliases, refuses a key given twice, and leaves dates as the text they are."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise BadYaml(f"more than {MAX_ALIASES} aliases: write the values out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
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
        BadYaml: not YAML, an executing tag, too large, too many aliases, or a key given twice.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadYaml(f"larger than {MAX_BYTES} bytes")
    loader: Any = _Loader(text)
    documents = []
    try:
        while loader.check_data():
            documents.append(loader.get_data())
    except yaml.YAMLError as error:
        raise BadYaml(_sentence(error)) from error
    except RecursionError as error:
        raise BadYaml("nested too deeply") from error
    finally:
        loader.dispose()
    return documents


def _sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
