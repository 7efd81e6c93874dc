"""The log is cut behind what is durable: the decision, then a real worker, which ends when the disk fails it."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from chronos_common.config import SECRET_FILE, load_config
from chronos_worker.cutting import JOURNAL_BOUND_BYTES, Cutting
from chronos_worker.data_dir import DataDir
from chronos_worker.settings import settings_from
from chronos_worker.store.database import Database
from chronos_worker.worker import Worker
from tests.support.processes import wait_for, worker_in_thread, write_config


class Recorded:
    """Log, checkpoints and clock at once."""

    def __init__(self):
        self.asked = self.durable_index = 0
        self.cut_behind = []

    def ask(self):
        self.asked += 1

    def compact(self, durable_index):
        self.cut_behind.append(durable_index)

    def monotonic_s(self):
        return float(len(self.cut_behind))


def of(journal_bytes):
    return SimpleNamespace(journal_bytes=journal_bytes)


def test_nothing_is_cut_before_what_was_applied_when_it_was_asked_for_is_durable():
    outside = Recorded()
    cutting = Cutting(outside, outside, outside)
    for applied, durable in ((10, 0), (20, 9)):
        outside.durable_index = durable
        cutting.step(of(JOURNAL_BOUND_BYTES + 1), applied)
    assert (outside.asked, outside.cut_behind) == (1, [])
    outside.durable_index = 15
    cutting.step(of(JOURNAL_BOUND_BYTES + 1), 30)
    assert (outside.cut_behind, cutting.at_s) == ([15], 1.0)


def test_a_short_log_is_cut_only_when_that_is_wanted():
    outside = Recorded()
    cutting = Cutting(outside, outside, outside)
    outside.durable_index = 10
    cutting.step(of(JOURNAL_BOUND_BYTES), 10)
    assert outside.asked == 0
    cutting.want()
    cutting.step(of(1), 10)
    cutting.step(of(1), 10)
    assert (outside.asked, outside.cut_behind) == (1, [10])


def test_the_log_is_cut_once_the_rows_are_durable(tmp_path):
    with worker_in_thread(write_config(tmp_path)) as (worker, _):
        before = worker.node.view.snapshot_at_s
        worker.node.take_snapshot()
        wait_for(lambda: worker.node.view.snapshot_at_s > before, "the cut")


def test_a_disk_that_does_not_sync_the_rows_ends_the_worker(tmp_path, monkeypatch):
    def fail(_database):
        raise OSError(5, "Input/output error")

    config = load_config(write_config(tmp_path), {})
    data = DataDir(Path(config.cluster.data_dir), config.cluster.node_id)
    settings = settings_from(config, data, SECRET_FILE)
    monkeypatch.setattr(Database, "make_durable", fail)
    with (
        closing(data),
        closing(Worker(settings, data, log=structlog.get_logger(), set_level=lambda _level: None)) as worker,
    ):
        worker.node.take_snapshot()
        with pytest.raises(OSError, match="Input/output error"):
            worker.run()
