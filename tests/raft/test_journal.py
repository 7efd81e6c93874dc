"""The journal keeps what was synced, cuts what was torn, and refuses what was damaged."""

from __future__ import annotations

import gc
import time
import zlib
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from chronos_worker.raft.errors import DiskFailed, JournalCorrupt, LogDiverged, WrongDataDirectory
from chronos_worker.raft.files import OsFiles
from chronos_worker.raft.journal import Journal
from chronos_worker.raft.records import HEADER_BYTES, MAGIC
from tests.sim.disk import Crashed, SimDisk

PIECE = 100
"""Bytes copied at a time: one entry, so that every compaction here takes several pieces."""


def command(index: int, term: int = 1, size: int = 20) -> bytes:
    return b"\x00" + f"{index}/{term}".encode().ljust(size, b".")


def fill(journal: Journal, upto: int, term: int = 1) -> None:
    for index in range(journal.last_index + 1, upto + 1):
        journal.append(command(index, term), index, term)


def compact(journal: Journal, base_index: int) -> int:
    """Compact to the end; how many pieces that took."""
    journal.compact(base_index)
    pieces = 1
    while journal.base_index < base_index:
        journal.go_on()
        pieces += 1
    return pieces


def contents(journal: Journal) -> list[tuple[int, int, bytes]]:
    return [(entry.idx, entry.term, entry.command) for entry in journal.entries[1:]]


def opened(directory: Path) -> Journal:
    return Journal(OsFiles(), directory, PIECE)


def written(directory: Path, upto: int = 9) -> list[tuple[int, int, bytes]]:
    journal = opened(directory)
    for index in range(2, upto + 1):
        fill(journal, index)
        journal.sync()
    kept = contents(journal)
    journal.close()
    return kept


def test_what_was_synced_is_there_after_reopening(tmp_path):
    kept = written(tmp_path)
    assert [index for index, _, _ in kept] == list(range(2, 10))
    assert contents(opened(tmp_path)) == kept


def test_an_entry_is_durable_only_after_the_sync(tmp_path):
    journal = opened(tmp_path)
    fill(journal, 5)
    assert (journal.last_index, journal.synced_index, journal.dirty) == (5, 1, True)
    journal.sync()
    assert (journal.synced_index, journal.dirty) == (5, False)


def test_a_batch_takes_one_write_and_one_sync(tmp_path):
    disk = SimDisk()
    journal = Journal(disk, tmp_path, PIECE)
    before = disk.operations
    fill(journal, 100)
    journal.sync()
    assert disk.operations - before == 3, "one write, one sync, one mark"


def test_a_torn_tail_is_cut_at_every_length(tmp_path):
    journal = opened(tmp_path)
    fill(journal, 4)
    journal.sync()
    durable = (tmp_path / "journal").stat().st_size
    mark = (tmp_path / "journal.mark").read_bytes()
    kept = contents(journal)
    fill(journal, 7)
    journal.close()
    whole = (tmp_path / "journal").read_bytes()
    for length in range(durable, len(whole)):
        (tmp_path / "journal").write_bytes(whole[:length])
        (tmp_path / "journal.mark").write_bytes(mark)
        again = opened(tmp_path)
        assert contents(again)[: len(kept)] == kept
        assert (tmp_path / "journal").stat().st_size == again.size_bytes <= length
        again.close()


def test_zeros_behind_the_last_record_are_a_torn_tail(tmp_path):
    kept = written(tmp_path)
    with (tmp_path / "journal").open("ab") as file:
        file.write(bytes(4096))
    assert contents(opened(tmp_path)) == kept


def test_after_a_torn_tail_the_journal_goes_on(tmp_path):
    written(tmp_path, 4)
    with (tmp_path / "journal").open("ab") as file:
        file.write(b"torn")
    journal = opened(tmp_path)
    fill(journal, 8)
    journal.close()
    assert opened(tmp_path).last_index == 8


def test_every_flipped_bit_in_synced_data_is_refused(tmp_path):
    written(tmp_path, 4)
    whole = (tmp_path / "journal").read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        (tmp_path / "journal").write_bytes(damaged)
        with pytest.raises(JournalCorrupt, match="journal"):
            opened(tmp_path)


def test_damage_in_synced_data_is_found_without_the_mark(tmp_path):
    """After a power cut the mark may be old; the records themselves tell what was durable before them."""
    written(tmp_path, 9)
    (tmp_path / "journal.mark").unlink()
    whole = bytearray((tmp_path / "journal").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "journal").write_bytes(whole)
    with pytest.raises(JournalCorrupt, match="durable"):
        opened(tmp_path)


def test_a_journal_that_lost_its_end_is_refused(tmp_path):
    written(tmp_path)
    whole = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(whole[:-60])
    with pytest.raises(JournalCorrupt, match="durable"):
        opened(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "journal").write_bytes(b"something else entirely, of some length")
    with pytest.raises(JournalCorrupt, match="header"):
        opened(tmp_path)


def test_the_journal_of_a_later_version_is_refused_as_that_and_not_as_damaged(tmp_path):
    written(tmp_path)
    whole = bytearray((tmp_path / "journal").read_bytes())
    whole[len(MAGIC) - 1] += 1
    whole[HEADER_BYTES - 4 : HEADER_BYTES] = zlib.crc32(whole[: HEADER_BYTES - 4]).to_bytes(4, "little")
    (tmp_path / "journal").write_bytes(whole)
    with pytest.raises(WrongDataDirectory, match="has format 2; this version reads up to 1"):
        opened(tmp_path)


def test_an_entry_must_follow_the_last(tmp_path):
    journal = opened(tmp_path)
    with pytest.raises(LogDiverged, match="3 does not follow 1"):
        journal.append(command(3), 3, 1)


def test_a_conflicting_tail_is_cut_and_replaced(tmp_path):
    written(tmp_path, 9)
    journal = opened(tmp_path)
    journal.cut_from(6)
    fill(journal, 7, term=2)
    journal.close()
    assert [(index, term) for index, term, _ in contents(opened(tmp_path))] == [
        (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2),
    ]  # fmt: skip


def test_compaction_keeps_what_follows_its_index(tmp_path):
    kept = written(tmp_path, 20)
    journal = opened(tmp_path)
    assert compact(journal, 12) > 1
    assert (journal.base_index, journal.base_term) == (12, 1)
    fill(journal, 22)
    journal.close()
    again = opened(tmp_path)
    assert contents(again)[:8] == kept[11:]
    assert again.last_index == 22


def test_bytes_after_counts_what_compaction_would_keep(tmp_path):
    written(tmp_path, 20)
    journal = opened(tmp_path)
    kept, header = journal.bytes_after(15), journal.size_bytes - journal.bytes_after(1)
    compact(journal, 15)
    assert journal.size_bytes == header + kept


def test_the_file_that_was_replaced_is_let_go(tmp_path):
    written(tmp_path, 20)
    journal = opened(tmp_path)
    compact(journal, 12)
    deadline = time.monotonic() + 10
    while nameless(tmp_path):
        assert time.monotonic() < deadline, nameless(tmp_path)
        time.sleep(0.01)
    journal.close()


def test_it_is_let_go_also_where_no_thread_can_be_had(tmp_path, monkeypatch):
    def refuse(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    written(tmp_path, 20)
    journal = opened(tmp_path)
    monkeypatch.setattr(Thread, "start", refuse)
    compact(journal, 12)
    assert not nameless(tmp_path)
    journal.close()


def nameless(directory: Path) -> list[str]:
    """Files that were in the directory, are removed and still open here."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # the one that listed the directory
            continue
    return [link for link in links if link.startswith(str(directory)) and link.endswith(" (deleted)")]


def test_what_a_compaction_drops_is_freed_little_by_little(tmp_path, monkeypatch):
    monkeypatch.setattr("chronos_worker.raft.journal._FREED_AT_ONCE", 7)
    journal = opened(tmp_path)
    fill(journal, 30)
    journal.sync()
    compact(journal, 29)
    left = [len(journal._dropped)]
    while left[-1]:
        journal.go_on()
        left.append(len(journal._dropped))
    assert left == [30, 23, 16, 9, 2, 0]
    assert contents(journal) == [(30, 1, command(30))]
    journal.close()


def test_entries_are_no_work_for_the_collector_of_garbage(tmp_path):
    written(tmp_path)
    journal = opened(tmp_path)
    fill(journal, 12)
    assert not any(gc.is_tracked(entry) for entry in journal.entries)
    journal.close()


def test_what_is_appended_during_a_compaction_stays_and_is_durable_before_its_end(tmp_path):
    kept = written(tmp_path, 20)
    journal = opened(tmp_path)
    journal.compact(12)
    fill(journal, 30)
    journal.sync()
    assert (journal.base_index, journal.synced_index) == (1, 30)
    assert contents(opened(tmp_path))[:19] == kept
    journal = opened(tmp_path)
    assert journal.last_index == 30
    compact(journal, 12)
    assert [entry.idx for entry in journal.entries] == list(range(12, 31))
    journal.close()
    assert [entry.idx for entry in opened(tmp_path).entries] == list(range(12, 31))


def test_a_compaction_ends_however_much_is_appended(tmp_path):
    written(tmp_path, 20)
    journal = opened(tmp_path)
    journal.compact(12)
    for _ in range(20):
        fill(journal, journal.last_index + 10)
        journal.sync()
        journal.go_on()
    assert journal.base_index == 12


def test_a_second_compaction_waits_for_the_first(tmp_path):
    written(tmp_path, 20)
    journal = opened(tmp_path)
    journal.compact(12)
    assert compact(journal, 12) < 8
    journal.compact(16)
    journal.compact(18)
    while journal.base_index == 12:
        journal.go_on()
    assert journal.base_index == 16


def test_a_conflict_ends_a_compaction(tmp_path):
    written(tmp_path, 20)
    journal = opened(tmp_path)
    journal.compact(12)
    journal.go_on()
    journal.cut_from(13)
    fill(journal, 14, term=2)
    journal.sync()
    journal.go_on()
    assert (journal.base_index, journal.last_term) == (1, 2)
    compact(journal, 12)
    assert [entry.term for entry in journal.entries] == [1, 2, 2]
    assert not (tmp_path / "journal.new").exists()


def test_an_end_in_the_middle_of_a_compaction_leaves_the_journal_as_it_was(tmp_path):
    kept = written(tmp_path, 20)
    journal = opened(tmp_path)
    journal.compact(12)
    journal.close()
    again = opened(tmp_path)
    assert contents(again) == kept
    assert not (tmp_path / "journal.new").exists()


def test_a_reset_keeps_a_matching_tail(tmp_path):
    written(tmp_path, 9)
    journal = opened(tmp_path)
    journal.reset(6, 1)
    assert [entry.idx for entry in journal.entries] == [6, 7, 8, 9]


def test_a_reset_drops_a_tail_of_another_term(tmp_path):
    written(tmp_path, 9)
    journal = opened(tmp_path)
    journal.reset(6, 3)
    assert (journal.base_index, journal.base_term, journal.last_index) == (6, 3, 6)


def test_a_reset_beyond_the_end_begins_anew(tmp_path):
    written(tmp_path, 9)
    journal = opened(tmp_path)
    journal.reset(100, 7)
    fill(journal, 101, term=7)
    journal.close()
    assert [entry.idx for entry in opened(tmp_path).entries] == [100, 101]


def test_a_full_disk_is_final(tmp_path):
    disk = SimDisk()
    journal = Journal(disk, tmp_path, PIECE)
    fill(journal, 5)
    disk.room = 30
    with pytest.raises(DiskFailed, match="short write"):
        journal.sync()
    disk.room = None
    with pytest.raises(DiskFailed):
        journal.sync()


def test_a_failed_sync_is_never_retried(tmp_path):
    disk = SimDisk()
    journal = Journal(disk, tmp_path, PIECE)
    fill(journal, 5)
    disk.sync_fails = True
    with pytest.raises(DiskFailed, match="failed to sync"):
        journal.sync()
    disk.sync_fails = False
    for call in (journal.sync, lambda: journal.compact(3), lambda: journal.cut_from(3), journal.close):
        with pytest.raises(DiskFailed):
            call()


class Script:
    """A journal's life, with a memory of what it must still hold after a crash."""

    def __init__(self, disk: SimDisk, directory: Path) -> None:
        self.promised: dict[int, int] = {}
        self.base = 1
        self._disk, self._directory = disk, directory

    def run(self) -> None:
        journal = Journal(self._disk, self._directory, PIECE)
        for upto in (4, 7, 12):
            fill(journal, upto)
            journal.sync()
            self.promise(journal)
        journal.compact(5)
        fill(journal, 14)
        journal.sync()
        self.promise(journal)
        journal.go_on()
        self.promised.pop(14)
        journal.cut_from(14)
        compact(journal, 5)
        self.base = 5
        self.promise(journal)
        fill(journal, 15)
        # A new leader contradicts the tail: what is cut is no longer promised from here on.
        self.promised = {index: term for index, term in self.promised.items() if index < 10}
        journal.cut_from(10)
        fill(journal, 13, term=2)
        journal.sync()
        self.promise(journal)
        self.promised = {}
        journal.reset(30, 3)
        self.base = 30
        fill(journal, 33, term=3)
        journal.sync()
        self.promise(journal)
        journal.close()

    def promise(self, journal: Journal) -> None:
        self.promised = {entry.idx: entry.term for entry in journal.entries[1:]}

    def check(self, journal: Journal) -> None:
        held = {entry.idx: entry.term for entry in journal.entries[1:]}
        for index, term in self.promised.items():
            assert held.get(index) == term or index <= journal.base_index, f"entry {index} of term {term} is gone"


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_every_single_file_operation_loses_nothing_promised(tmp_path, seed):
    reached = 0
    for crash_at in range(1, 200):
        directory = tmp_path / str(crash_at)
        directory.mkdir()
        disk = SimDisk(Random(seed * 1000 + crash_at))
        disk.crash_at = crash_at
        script = Script(disk, directory)
        try:
            script.run()
        except Crashed:
            reached += 1
        else:
            break
        disk.crash()
        journal = Journal(disk, directory, PIECE)
        script.check(journal)
        fill(journal, journal.last_index + 2, term=9)
        journal.close()
    assert 40 < reached < 199
