"""What is printed, and where."""

from __future__ import annotations

import json

import pytest
import yaml

from cli.chronosctl.output import Printer, cell

ROW = {"status": "failed", "name": "x"}
COLUMNS = [("STATUS", "status"), ("NAME", "name")]


def test_the_three_formats_hold_the_same(api, run, make_job):
    job = make_job("daily", description="Grüße\nzwei")
    api.on("GET", f"/jobs/{job['id']}", 200, job)
    as_json = run("-o", "json", "job", "get", job["id"]).out
    as_yaml = run("job", "get", job["id"], "-o", "yaml").out
    assert json.loads(as_json) == yaml.safe_load(as_yaml) == job
    assert "name: daily" in run("job", "get", job["id"]).out


def test_the_option_behind_the_command_is_stronger_than_the_one_before(api, run):
    api.on("GET", "/jobs", 200, {"items": [], "next_cursor": None})
    assert run("-o", "yaml", "job", "list", "-o", "json").out == "[]\n"


def test_no_colours_without_a_terminal(api, run, make_job):
    api.on("GET", "/jobs", 200, {"items": [make_job("daily")], "next_cursor": None})
    assert "\x1b" not in run("job", "list").out


def test_colours_are_for_the_status_and_leave_the_columns_in_line(capsys):
    Printer(colours=True).rows([ROW, {"status": "ok", "name": "y"}], COLUMNS)
    coloured = capsys.readouterr().out
    assert "\x1b[31mfailed\x1b[0m  x" in coloured
    Printer().rows([ROW, {"status": "ok", "name": "y"}], COLUMNS)
    plain = capsys.readouterr().out.splitlines()
    assert [line.index(last) for line, last in zip(plain, ["NAME", "x", "y"], strict=True)] == [8, 8, 8]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        ({}, "-"),
        ({"a": "b"}, "a=b"),
        ([], "-"),
        ("\x1b[31mr", "\N{REPLACEMENT CHARACTER}[31mr"),
    ],
)
def test_a_cell_is_short_and_cannot_write_to_the_terminal(value, shown):
    assert cell(value) == shown


def test_a_long_cell_is_cut_visibly():
    assert cell("x" * 500) == "x" * 119 + "…"
