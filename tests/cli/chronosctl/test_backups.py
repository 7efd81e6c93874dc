"""Backups as files: what is kept, what is refused, and a cluster filled from one."""

import base64
import hashlib
import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys

import msgspec
import pytest
import requests
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chronos_common.backups import END_BYTES, END_MARK, FORMAT, BadBackup, Description, encode_end, read_description
from chronos_common.schemas.fields import instant_text
from cli.chronosctl.backup_file import pieces
from tests.support.api_server import node_in_thread
from tests.support.processes import write_config


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    with node_in_thread(write_config(tmp_path_factory.mktemp("source"))) as (_, url):
        yield url


@pytest.fixture(scope="module")
def good(source, tmp_path_factory):
    """A backup of three jobs, one of which ran; (path, what the command said of it)."""
    directory = tmp_path_factory.mktemp("good")
    job = {"webhook": {"url": "http://127.0.0.1:9/"}, "retry_policy": {"max_attempts": 1}, "description": "d" * 500}
    documents = [{"name": f"job-{number}", **job} for number in range(3)]
    (directory / "jobs.yaml").write_text(yaml.safe_dump_all(documents))
    ctl(source, "job", "create", "-f", str(directory / "jobs.yaml"))
    ctl(source, "job", "trigger", "job-1", "--wait", status=7)
    told = ctl(source, "backup", str(directory / "backup"), "-o", "json")
    return directory / "backup", json.loads(told)


def ctl(url, *arguments, status=0, **options):
    """The program as a process of its own; its output, or its errors if it is to fail.

    With options it is not measured: what they limit would break off the file of the measurement too.
    """
    environment = {key: value for key, value in os.environ.items() if not (options and key.startswith("COVERAGE_"))}
    ended = subprocess.run(
        [sys.executable, "-m", "cli.chronosctl", *arguments],
        env={**environment, "CHRONOS_SERVER": url, "XDG_CONFIG_HOME": "/nonexistent"},
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip
    assert ended.returncode == status, ended
    assert "Traceback" not in ended.stderr
    return ended.stderr if status else ended.stdout


@pytest.fixture
def empty(tmp_path):
    with node_in_thread(write_config(tmp_path, name="new")) as (worker, url):
        yield worker, url


def test_a_backup_names_its_index_and_time_and_only_its_owner_can_read_it(good):
    path, told = good
    assert told["index"] > 0
    assert told["taken_at"].endswith("Z")
    assert told["node_id"] == "node-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.glob(".*")) == []


def test_checking_a_backup_says_what_it_is_of(run, good):
    path, told = good
    ended = run("restore", "--check", str(path))
    assert ended.status == 0
    assert f"as of index {told['index']}, {told['taken_at']}; it is whole" in ended.out


def test_a_file_that_exists_is_replaced_only_by_force(source, good, tmp_path):
    path = tmp_path / "taken"
    path.write_text("mine")
    assert "exists already" in ctl(source, "backup", str(path), status=2)
    assert path.read_text() == "mine"
    ctl(source, "backup", "--force", str(path))
    assert path.stat().st_size > good[0].stat().st_size / 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_leaves_no_part_of_a_backup(source, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    told = ctl(source, "backup", str(tmp_path / "b"), status=1, preexec_fn=limit)
    assert "b cannot be written: File too large" in told
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_named(source, tmp_path):
    told = ctl(source, "backup", str(tmp_path / "no" / "b"), status=1)
    assert "no/b cannot be written: No such file or directory" in told


def test_an_answer_that_is_no_backup_is_not_kept(run, api, tmp_path):
    api.on("GET", "/cluster/backup", 200, b"<html>a proxy's page</html>")
    ended = run("backup", str(tmp_path / "b"))
    assert ended.status == 2
    assert "b was not written: what arrived: the file is no backup of Chronos" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_that_breaks_off_is_told_and_not_kept(run, api, good, tmp_path):
    whole = good[0].read_bytes()
    api.on("GET", "/cluster/backup", 200, whole[:-10])
    ended = run("backup", str(tmp_path / "b"))
    assert ended.status == 2
    assert "cut off" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_copy_still_being_made_is_waited_for_and_a_refusal_is_told(run, api, good, make_problem, tmp_path):
    api.on("GET", "/cluster/backup", 503, make_problem(503, "unavailable"), Retry_After="0")
    api.on("GET", "/cluster/backup", 503, make_problem(503, "unavailable"), Retry_After="0")
    api.on("GET", "/cluster/backup", 200, good[0].read_bytes())
    api.on("GET", "/cluster/backup", 409, make_problem(409, "conflict", "somebody else is reading"))
    assert run("backup", str(tmp_path / "b")).status == 0
    assert len(api.sent("GET")) == 3
    ended = run("backup", str(tmp_path / "c"))
    assert (ended.status, ended.err) == (5, "chronosctl: somebody else is reading\n")
    assert run("backup", str(tmp_path / "c"), "--wait", "soon").status == 2


REGIONS = {
    "the first page": (0, "match their checksum"),
    "a page in the middle": (0.5, "match their checksum"),
    "the last page": (-600, "match their checksum"),
    "the description": (-END_BYTES - 20, "does not match its checksum"),
    "the checksum of the description": (-END_BYTES + 5, "does not match its checksum"),
    "the length of the description": (-9, "does not match its checksum"),
    "the end mark": (-1, "missing or overwritten"),
}


@pytest.mark.parametrize("region", REGIONS)
def test_one_flipped_bit_anywhere_is_found_before_anything_is_sent(run, api, good, tmp_path, region):
    place, words = REGIONS[region]
    data = bytearray(good[0].read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 4
    (tmp_path / "damaged").write_bytes(data)
    ended = run("restore", str(tmp_path / "damaged"))
    assert ended.status == 2
    assert words in ended.err
    assert api.calls == []


@pytest.mark.parametrize("kept", [0, 50, 5_000, -1, -END_BYTES, -END_BYTES - 1])
def test_a_truncated_backup_is_refused(run, api, good, tmp_path, kept):
    (tmp_path / "short").write_bytes(good[0].read_bytes()[:kept])
    ended = run("restore", str(tmp_path / "short"))
    assert ended.status == 2
    assert "no backup" in ended.err if kept in (0, 50) else "damaged" in ended.err
    assert api.calls == []


def test_bytes_lost_or_added_in_the_middle_are_told_by_the_size(run, good, tmp_path):
    data = good[0].read_bytes()
    for wrong in (data[:100] + data[200:], data[:100] + b"x" + data[100:]):
        (tmp_path / "wrong").write_bytes(wrong)
        ended = run("restore", str(tmp_path / "wrong"))
        assert f"it has {len(wrong)} bytes, by its description it had {len(data)}" in ended.err


def test_other_files_are_told_apart_from_damaged_ones(run, good, tmp_path):
    other = tmp_path / "other"
    other.write_text("a letter")
    assert "is no backup of Chronos" in run("restore", str(other)).err
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    assert "is a SQLite database, but no backup of Chronos" in run("restore", str(tmp_path / "db")).err
    assert "No such file" in run("restore", str(tmp_path / "none")).err
    assert run("restore").status == run("restore", "--abort", str(good[0])).status == 2


@given(head=st.binary(max_size=100), tail=st.binary(max_size=300), marked=st.booleans())
def test_no_bytes_are_more_than_no_backup(head, tail, marked):
    with pytest.raises(BadBackup):
        read_description(head, tail + END_MARK if marked else tail, 10_000)


@given(body=st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_a_description_of_anything_else_is_refused_in_words(body):
    raw = json.dumps(body).encode()
    end = hashlib.sha256(raw).digest() + len(raw).to_bytes(4, "big") + END_MARK
    with pytest.raises(BadBackup, match=r"cannot be read|damaged"):
        read_description(b"", raw + end, 10_000)


def described(path):
    data = path.read_bytes()
    length = int.from_bytes(data[-12:-8], "big")
    body = data[-END_BYTES - length : -END_BYTES]
    return data[: -END_BYTES - length], msgspec.json.decode(body, type=Description)


def test_a_newer_format_is_refused_with_what_this_program_reads(run, api, good, tmp_path):
    database, description = described(good[0])
    newer = encode_end(msgspec.structs.replace(description, format=FORMAT + 1))
    (tmp_path / "newer").write_bytes(database + newer)
    ended = run("restore", str(tmp_path / "newer"))
    assert f"has format {FORMAT + 1}, this program reads up to {FORMAT}: use a newer one" in ended.err
    assert api.calls == []


def test_a_newer_schema_is_refused_by_the_cluster_and_leaves_it_untouched(good, empty, tmp_path):
    database, description = described(good[0])
    (tmp_path / "newer").write_bytes(database + encode_end(msgspec.structs.replace(description, schema="9999")))
    told = ctl(empty[1], "restore", str(tmp_path / "newer"), status=2)
    assert "schema '9999'; this version restores 0001" in told
    assert "restore" not in ctl(empty[1], "cluster", "status")


def test_a_cluster_that_holds_jobs_is_refused(source, good):
    told = ctl(source, "restore", str(good[0]), status=5)
    assert "this cluster holds 3 jobs and 1 executions; accepted is one in which no job was ever made" in told


def test_a_restored_cluster_answers_as_the_old_one_did(source, good, empty, tmp_path):
    _, url = empty
    assert "3 jobs, 1 executions" in ctl(url, "restore", str(good[0]))
    old, new = (json.loads(ctl(where, "job", "list", "-o", "json")) for where in (source, url))
    assert new == old
    old, new = (json.loads(ctl(where, "execution", "list", "job-1", "-o", "json")) for where in (source, url))
    assert new == old
    ctl(url, "job", "trigger", "job-2", "--wait", status=7)
    assert "filled from" in ctl(url, "restore", str(good[0]))
    ctl(url, "backup", str(tmp_path / "again"))
    assert "holds 3 jobs and 2 executions" in ctl(url, "restore", str(tmp_path / "again"), status=5)


def begun(url, path):
    """A restore whose client went away after the first piece."""
    _, description = described(path)
    body = {"backup": description.sha256, "schema": description.schema, "index": description.index}
    first = next(pieces(path))
    data = base64.b64encode(first.data).decode()
    for way, sent in (
        ("", body | {"taken_at": instant_text(description.taken_at)}),
        ("/rows", {"backup": description.sha256, "number": 1, "data": data, "more": first.more}),
    ):
        answer = requests.post(f"{url}/api/v1/cluster/restore{way}", json=sent, timeout=10)
        assert answer.status_code == 200, answer.text
    assert answer.json() == {"state": "open", "backup": description.sha256, "pieces": 1, "rows": 3}


def test_a_restore_broken_off_fires_and_changes_nothing_and_goes_on_where_it_stood(good, empty):
    _, url = empty
    begun(url, good[0])
    assert "nothing fires until it ends or is aborted" in ctl(url, "cluster", "status")
    assert "is being restored from a backup" in ctl(url, "job", "trigger", "job-1", status=6)
    assert "3 jobs" in ctl(url, "restore", str(good[0]))
    assert "no restore is under way" in ctl(url, "restore", "--abort")
    assert len(json.loads(ctl(url, "job", "list", "-o", "json"))) == 3
    ctl(url, "job", "trigger", "job-1", "--wait", status=7)


def test_an_aborted_restore_leaves_an_empty_cluster_and_can_be_begun_anew(good, empty):
    _, url = empty
    begun(url, good[0])
    ctl(url, "restore", "--abort")
    assert json.loads(ctl(url, "job", "list", "-o", "json")) == []
    assert "3 jobs" in ctl(url, "restore", str(good[0]))
