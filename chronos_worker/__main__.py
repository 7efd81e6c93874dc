"""`python -m chronos_worker [--config FILE]`: one worker process, until SIGTERM or SIGINT drains it.

Exit statuses: 0 drained; 2 configuration; 3 data directory; 4 a port is taken; 70 a disk or a log that
cannot be trusted any more (crash-only: the supervisor starts the process anew).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Final

import click
import structlog
from sqlalchemy.exc import DBAPIError

from chronos_common.commands import UnknownCommand
from chronos_common.config import SECRET_FILE, InvalidConfig, default_path, load_config
from chronos_common.garbage import collect_seldom
from chronos_common.logs import configure_logging, set_level
from chronos_worker.data_dir import DataDir, DataDirError
from chronos_worker.raft import BadLogConfig, DataDirectoryBusy, FatalLogError, WrongDataDirectory
from chronos_worker.settings import settings_from
from chronos_worker.worker import Worker

CONFIGURATION: Final = 2
DATA_DIRECTORY: Final = 3
PORT_TAKEN: Final = 4
FAILED: Final = 70


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="The YAML file.")
def main(path: Path | None) -> None:
    """Run one worker until it is told to stop."""
    sys.exit(run(path))


def run(path: Path | None) -> int:
    """Run a worker; returns the exit status."""
    log = structlog.get_logger("chronos.worker")
    try:
        config = load_config(path or default_path(os.environ), os.environ)
        configure_logging(config.logging.level, config.logging.format)
        data = DataDir(Path(config.cluster.data_dir), config.cluster.node_id)
        settings = settings_from(config, data, SECRET_FILE)
        worker = Worker(settings, data, log=log, set_level=set_level)
    except (InvalidConfig, BadLogConfig) as error:
        return _refuse(str(error), CONFIGURATION)
    except (DataDirError, DataDirectoryBusy, WrongDataDirectory) as error:
        return _refuse(str(error), DATA_DIRECTORY)
    except FatalLogError as error:
        return _refuse(str(error), FAILED)
    except DBAPIError as error:
        return _refuse(f"the database in {config.cluster.data_dir} cannot be used: {error.orig}", FAILED)
    except OSError as error:
        return _refuse(str(error), PORT_TAKEN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    log.info("worker_started", node_id=config.cluster.node_id, control_port=worker.control.port)
    collect_seldom()
    try:
        worker.run()
    except (FatalLogError, UnknownCommand, DBAPIError, sqlite3.Error, OSError) as error:
        # What this node believes may be wrong now. Nothing is retried; a new process starts from the disk.
        log.error("worker_failed", error=str(error))  # noqa: TRY400 - the sentence says it; nobody reads traces
        os._exit(FAILED)
    except Exception:
        # A defect of ours. Other threads would go on answering for a node that does nothing any more.
        log.exception("worker_failed")
        os._exit(FAILED)
    worker.close()
    data.close()
    log.info("worker_stopped")
    return 0


def _refuse(message: str, status: int) -> int:
    sys.stderr.write(f"chronos worker: {message}\n")
    return status


if __name__ == "__main__":
    main()
