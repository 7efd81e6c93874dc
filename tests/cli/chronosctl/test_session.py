"""Where the server and the key come from."""

from __future__ import annotations

import pytest

EMPTY = {"items": [], "next_cursor": None}


def settings(tmp_path, text):
    (tmp_path / "chronos").mkdir()
    (tmp_path / "chronos" / "config.yaml").write_text(text)


def test_the_key_is_sent_as_a_bearer_token(api, run):
    api.on("GET", "/jobs", 200, EMPTY)
    assert run("job", "list", CHRONOS_API_KEY="secret-key").status == 0
    assert api.calls[0].headers["authorization"] == "Bearer secret-key"


def test_the_settings_file_gives_server_and_key_where_nothing_else_does(api, run, tmp_path):
    settings(tmp_path, f"server: {api.url}\napi_key: from-file\noutput: json\n")
    api.on("GET", "/jobs", 200, EMPTY)
    ended = run("job", "list", CHRONOS_SERVER="")
    assert (ended.status, ended.out) == (0, "[]\n")
    assert api.calls[0].headers["authorization"] == "Bearer from-file"


def test_the_environment_is_stronger_than_the_settings_file(api, run, tmp_path):
    settings(tmp_path, "server: http://127.0.0.1:1\napi_key: from-file\n")
    api.on("GET", "/jobs", 200, EMPTY)
    assert run("job", "list", CHRONOS_API_KEY="from-environment").status == 0
    assert api.calls[0].headers["authorization"] == "Bearer from-environment"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("api_kye: x\n", "api_kye"),
        ("- a\n", "must hold one mapping"),
        ("output: xml\n", "output is 'xml'"),
        ("a: !!python/object/apply:os.system [x]\n", "line 1"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_named(run, tmp_path, text, told):
    settings(tmp_path, text)
    ended = run("job", "list")
    assert ended.status == 2
    assert "config.yaml" in ended.err
    assert told in ended.err


def test_a_key_no_header_can_carry_is_refused_before_it_is_sent(api, run):
    ended = run("job", "list", CHRONOS_API_KEY="a\r\nX-Evil: 1")
    assert ended.status == 2
    assert api.calls == []


def test_help_needs_neither_settings_nor_server(run, tmp_path):
    settings(tmp_path, "- broken\n")
    assert run("job", "--help", CHRONOS_SERVER="http://127.0.0.1:1").status == 0
