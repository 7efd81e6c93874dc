"""The program's own answers to what it is given."""

from click.testing import CliRunner

from bench.__main__ import bench


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    missing = str(tmp_path / "missing")
    answer = CliRunner().invoke(bench, ["--directory", missing, "memory", "--runs", "1"])
    assert answer.exit_code == 2
    assert missing in answer.output
