"""The commented example and the page for operators say what the code does."""

import re
from pathlib import Path

import pytest

from chronos_common.config import Config, load_config, read_yaml
from chronos_common.config.reading import variables

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "chronos.yaml.example"
PAGE = ROOT / "docs" / "configuration.md"
KEYS = sorted(variables(Config).items())


def at(document, path):
    for name in path:
        document = document[name]
    return document


def test_the_example_is_the_defaults():
    assert load_config(EXAMPLE, {}) == load_config(None, {}) == Config()


@pytest.mark.parametrize("path", [path for _, path in KEYS], ids=".".join)
def test_the_example_holds_every_key(path):
    at(read_yaml(EXAMPLE.read_text())[0], path)


def test_the_page_lists_every_key_with_its_default():
    listed = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`]*)` \|", PAGE.read_text(), re.MULTILINE))
    document = read_yaml(EXAMPLE.read_text())[0]
    for _, path in KEYS:
        text = listed.pop(".".join(path))
        assert read_yaml(text) == [at(document, path)], path
    assert not listed


def test_the_configurations_in_the_page_are_accepted(tmp_path):
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        load_config(path, {})
