"""The data directory: whose it is, who holds it, how many lives it has seen."""

import os
import stat
import subprocess
import sys

import pytest

from chronos_worker.data_dir import DataDir, DataDirError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


def refusal(path, node_id="n1"):
    with pytest.raises(DataDirError) as refused:
        DataDir(path, node_id)
    return str(refused.value)


def test_it_is_made_for_its_owner_only(path):
    data = DataDir(path, "n1")
    data.own_secret("secret")
    data.next_incarnation(0)
    data.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_a_second_process_is_refused_and_told_who_holds_it(path):
    data = DataDir(path, "n1")
    assert f"{path} is in use by process {os.getpid()}" in refusal(path)
    data.close()
    DataDir(path, "n1").close()


def test_a_process_that_was_killed_holds_nothing(path):
    script = f"import os; from pathlib import Path; from chronos_worker.data_dir import DataDir; DataDir(Path({str(path)!r}), 'n1'); os.kill(os.getpid(), 9)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    DataDir(path, "n1").close()


def test_the_directory_of_another_node_is_refused_and_stays_usable_for_its_own(path):
    DataDir(path, "n1").close()
    assert "belongs to node 'n1', this is 'n2'" in refusal(path, "n2")
    DataDir(path, "n1").close()


def test_every_life_gets_a_number_no_other_had(path):
    data = DataDir(path, "n1")
    assert [data.next_incarnation(0), data.next_incarnation(0), data.next_incarnation(9)] == [1, 2, 9]
    data.close()
    data = DataDir(path, "n1")
    assert data.next_incarnation(3) == 10
    data.close()


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5", "\x00"])
def test_a_damaged_number_of_lives_is_refused_and_not_begun_anew(path, text):
    DataDir(path, "n1").close()
    (path / "incarnation").write_text(text)
    assert "incarnation is damaged" in refusal(path)
    (path / "incarnation").unlink()
    DataDir(path, "n1").close()


def test_the_own_secret_stays_the_same(path):
    data = DataDir(path, "n1")
    secret = data.own_secret("control.secret")
    assert len(secret) >= 32
    assert data.own_secret("control.secret") == secret
    data.close()


def test_a_place_where_nothing_can_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file/data cannot be written: Not a directory" in refusal(tmp_path / "file" / "data")


def test_a_directory_it_cannot_write_to_is_named_and_let_go(path):
    DataDir(path, "n1").close()
    (path / "node_id").unlink()
    (path / "node_id.new").mkdir()  # in the way, as a full disk would be
    assert f"{path} cannot be written: Is a directory" in refusal(path)
    (path / "node_id.new").rmdir()
    DataDir(path, "n1").close()
