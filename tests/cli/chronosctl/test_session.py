"""Where the server and the key come from."""

from __future__ import annotations

import json
import threading

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


def test_a_key_that_others_can_read_is_warned_about(api, run, tmp_path):
    settings(tmp_path, "api_key: from-file\n")
    file = tmp_path / "chronos" / "config.yaml"
    api.on("GET", "/jobs", 200, EMPTY)
    file.chmod(0o640)
    assert "others can read the key" in run("job", "list").err
    file.chmod(0o600)
    assert "others can read" not in run("job", "list").err


def test_the_settings_are_shown_with_where_they_come_from_and_without_the_key(api, run, tmp_path):
    settings(tmp_path, "timeout: 5s\n")
    ended = run("--output", "json", "config", "show", CHRONOS_API_KEY="top-secret")
    shown = {row["setting"]: (row["value"], row["origin"]) for row in json.loads(ended.out)}
    assert shown == {
        "server": (api.url, "CHRONOS_SERVER"),
        "api_key": ("********", "CHRONOS_API_KEY"),
        "output": ("json", "--output"),
        "ca": (None, "not set"),
        "timeout": ("5s", str(tmp_path / "chronos" / "config.yaml")),
    }
    assert "top-secret" not in ended.out + ended.err


@pytest.mark.parametrize("timeout", ["soon", "0s", "-1s"])
def test_a_timeout_that_is_no_duration_is_refused(api, run, timeout):
    ended = run("--timeout", timeout, "job", "list")
    assert ended.status == 2
    assert f"--timeout: timeout: '{timeout}'" in ended.err
    assert api.calls == []


def test_a_server_that_takes_longer_than_the_timeout_is_status_6(api, run):
    release = threading.Event()
    api.on("GET", "/jobs", 200, lambda _body: release.wait(20))
    ended = run("--timeout", "100ms", "job", "list")
    release.set()
    assert ended.status == 6
    assert "did not answer in 0.1 s" in ended.err


def test_certificates_that_are_none_are_refused_by_name(run, tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for name in ("empty.pem", "missing.pem"):
        ended = run("--ca", str(tmp_path / name), "job", "list")
        assert ended.status == 2
        assert name in ended.err
