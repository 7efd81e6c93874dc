"""What users hand in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.chronosctl.documents import read_documents, read_value
from cli.chronosctl.failures import CliError

BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


def test_several_documents_lists_and_files_come_in_order(tmp_path):
    (tmp_path / "a.yaml").write_text("name: one\n---\n---\nname: two\n---\n- name: three\n- name: four\n")
    (tmp_path / "b.json").write_text('{"name": "five"}')
    found = read_documents([str(tmp_path / "a.yaml"), str(tmp_path / "b.json")])
    assert [document.body["name"] for document in found] == ["one", "two", "three", "four", "five"]
    assert found[3].source.endswith("a.yaml, document 4, item 2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no document"),
        ("# nothing\n", "no document"),
        ("just text\n", "is a str, not a job"),
        ("a: [1\n", "line 2"),
        ("a: 1\na: 2\n", "given twice"),
        ("a: !!python/object/apply:os.system [x]\n", "no acceptable YAML"),
        (BOMB, "no acceptable YAML"),
    ],
)
def test_a_text_that_is_no_job_is_refused_by_its_place(tmp_path, text, told):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(CliError, match=told) as failure:
        read_documents([str(tmp_path / "x.yaml")])
    assert failure.value.status == 2
    assert "x.yaml" in failure.value.message


def test_a_file_that_is_not_there_and_one_that_is_no_text(tmp_path):
    with pytest.raises(CliError, match="No such file"):
        read_documents([str(tmp_path / "none.yaml")])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CliError, match="not UTF-8"):
        read_documents([str(tmp_path / "binary")])


def test_a_file_beyond_the_bound_is_refused_before_it_is_read_whole(tmp_path):
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(1024**3)
    with pytest.raises(CliError, match="larger than") as failure:
        read_documents([str(tmp_path / "big.yaml")])
    assert failure.value.status == 2


def test_a_date_stays_the_text_it_is(tmp_path):
    (tmp_path / "d.yaml").write_text("schedule: 2026-01-01\nname: 2026-01-01T00:00:00Z\n")
    assert read_documents([str(tmp_path / "d.yaml")])[0].body == {
        "schedule": "2026-01-01", "name": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def test_a_payload_nested_beyond_reason_is_refused():
    with pytest.raises(CliError, match="nested too deeply"):
        read_value("[" * 100_000)


def test_a_payload_is_json_or_else_text_or_a_file(tmp_path):
    (tmp_path / "p.json").write_text("[1]")
    assert read_value('{"a": 1}') == {"a": 1}
    assert read_value("hello") == "hello"
    assert read_value(f"@{tmp_path / 'p.json'}") == [1]


def test_stdin_is_a_file_named_minus(api, make_job):
    api.on("POST", "/jobs", 201, make_job("piped"))
    ended = subprocess.run(
        [sys.executable, "-m", "cli.chronosctl", "--server", api.url, "job", "create", "-f", "-"],
        input=b"name: piped\nwebhook: {url: http://x/}\n", capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert api.calls[0].body == {"name": "piped", "webhook": {"url": "http://x/"}}
