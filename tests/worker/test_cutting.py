"""A real worker makes its rows durable and cuts its log behind them, and ends when the disk fails it."""

from contextlib import closing
from pathlib import Path

import pytest
import structlog

from chronos_common.config import SECRET_FILE, load_config
from chronos_worker.data_dir import DataDir
from chronos_worker.settings import settings_from
from chronos_worker.store.database import Database
from chronos_worker.worker import Worker
from tests.support.processes import wait_for, worker_in_thread, write_config


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
