"""Putting a worker together: the one place where all the parts meet."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

from chronos_common import VERSION, ids
from chronos_common.clock import Clock, SystemClock
from chronos_common.protocol import AdminCall, Proposal, Query, decode
from chronos_worker.backups import Backups
from chronos_worker.control.admin import Admin
from chronos_worker.control.members import MemberChanges
from chronos_worker.control.reads import Reads
from chronos_worker.control.server import ControlApp, ControlServer, Handler
from chronos_worker.control.status import StatusDesk
from chronos_worker.control.webhook_test import WebhookTester
from chronos_worker.data_dir import DataDir, DataDirError
from chronos_worker.deliveries import Deliveries
from chronos_worker.desk import Desk
from chronos_worker.dispatch import DispatchPool
from chronos_worker.events import Events
from chronos_worker.metrics import Metrics
from chronos_worker.node import Node
from chronos_worker.progress import Progress
from chronos_worker.proposals import Anchors, Completer
from chronos_worker.raft import open_log
from chronos_worker.settings import WorkerSettings
from chronos_worker.skew import SkewThread, SkewWatch, ask_over_http
from chronos_worker.state_machine.machine import StateMachine
from chronos_worker.store.checkpoints import CheckpointThread
from chronos_worker.store.database import Database
from chronos_worker.store.planning_queries import get_anchor
from chronos_worker.store.revision import NewerData, known_revisions, migrate_apart
from chronos_worker.store.snapshots import Snapshots
from chronos_worker.verifier import Verifier


class Worker:
    """A whole worker process: open on construction, `run` until stopped, then close.

    Raises:
        DataDirError: the directory is in use, foreign, or newer than this build.
        OSError: a port is taken.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        data: DataDir,
        *,
        log: Any,
        set_level: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._stopping = False
        with ExitStack() as opened:
            database = opened.enter_context(closing(open_database(data, settings.node.reads)))
            snapshots = Snapshots(database)
            raft = opened.enter_context(closing(open_log(settings.raft, snapshots)))
            pool = opened.enter_context(closing(DispatchPool(settings.dispatch, wake=raft.wake, log=log)))
            data.used_by(VERSION)
            checkpoints = opened.enter_context(closing(CheckpointThread(database)))
            machine = StateMachine(database, settings.node.reads)
            background = ThreadPoolExecutor(1, thread_name_prefix="verifier")
            opened.callback(background.shutdown, wait=True, cancel_futures=True)
            desk, progress = Desk(raft.wake), Progress(machine.applied_index)
            metrics = Metrics()
            events = Events(log, metrics, clock)
            verifier = Verifier(
                database,
                settings.node.node_id,
                wake=raft.wake,
                disagree=events.replicas_differ,
                background=background,
                interval_s=settings.verify_interval_s,
            )
            copying = ThreadPoolExecutor(1, thread_name_prefix="backup")
            opened.callback(copying.shutdown, wait=True, cancel_futures=True)
            backups = Backups(
                database,
                data.path / "backup",
                settings.node.node_id,
                cluster_id=lambda: self.node.view.log.cluster_id,
                confirm=lambda wait_s: desk.barrier(f"backup-{secrets.token_hex(8)}", wait_s),
                background=copying,
                clock=clock,
            )
            opened.callback(backups.close)
            self.node = Node(
                settings.node,
                log=raft,
                database=database,
                checkpoints=checkpoints,
                machine=machine,
                deliveries=Deliveries(database, pool, events, clock, random.SystemRandom().random),
                desk=desk,
                completer=Completer(anchors(database), secrets.randbits, known_revisions()),
                progress=progress,
                snapshots=snapshots,
                verifier=verifier,
                observer=events,
                clock=clock,
                next_incarnation=data.next_incarnation,
            )
            skew = SkewWatch(settings.node.node_id, ask_over_http(settings.secret), clock, events)
            status = StatusDesk(self.node, database, progress, metrics, clock, events.notes, skew.readings)
            reads = Reads(database, desk, progress, status.age_ms)
            tester = WebhookTester(settings.dispatch, log, clock, status.term)
            members = MemberChanges(self.node, status.leader_url)
            admin = Admin(self.node, status.leadership, tester.send, set_level, verifier, members, backups)
            routes = _routes(desk, reads, status, admin, clock)
            app = ControlApp(settings.secret, routes, metrics.control_refused)
            watching = SkewThread(lambda: _look_at_clocks(skew, self.node))
            opened.callback(watching.close)
            self.control = opened.enter_context(
                closing(ControlServer(settings.control_host, settings.control_port, app))
            )
            pool.start()
            self.control.start()
            watching.start()
            checkpoints.start()
            self._raft = raft
            self._opened = opened.pop_all()

    def stop(self) -> None:
        """Ask the worker to drain and end. Safe from a signal handler."""
        self._stopping = True
        self._raft.wake()

    def run(self) -> None:
        """Step until drained. Whatever a step raises has to end the process."""
        while not self.node.stopped:
            if self._stopping:
                self.node.stop()
            self.node.step()

    def close(self) -> None:
        """Give everything back, last opened first."""
        self._opened.close()


def open_database(data: DataDir, reads: int) -> Database:
    """The rows in a data directory, brought to this version's schema.

    Raises:
        DataDirError: a newer version wrote them.
    """
    path = data.path / "chronos.sqlite3"
    migrate_apart(path)
    try:
        return Database(path, reads)
    except NewerData as error:
        wrote = f"Chronos {data.version}" if data.version else "a newer version of Chronos"
        raise DataDirError(
            f"the data directory {data.path} was last used by {wrote}, and this is Chronos {VERSION}: {error}. "
            f"There is no way back: start {wrote} again, or a newer one"
        ) from error


def anchors(database: Database) -> Anchors:
    """Reads a job's anchor from the rows."""

    def anchor(job_id: str) -> tuple[int, int | None] | None:
        raw_id = ids.from_text(job_id)
        if raw_id is None:
            return None
        with database.read() as connection:
            return get_anchor(connection, raw_id)

    return anchor


def _look_at_clocks(skew: SkewWatch, node: Node) -> None:
    view = node.view
    skew.look(view.nodes, leads=view.log.role == "leader")


def _routes(
    desk: Desk, reads: Reads, status: StatusDesk, admin: Admin, clock: Clock
) -> dict[tuple[str, str], Handler]:
    return {
        ("POST", "/v1/propose"): lambda body: desk.propose(decode(body, Proposal)),
        ("POST", "/v1/query"): lambda body: reads.answer(decode(body, Query)),
        ("POST", "/v1/admin"): lambda body: admin.answer(decode(body, AdminCall)),
        ("GET", "/v1/status"): lambda _: status.status(),
        ("GET", "/v1/metrics"): lambda _: status.families(),
        ("GET", "/v1/clock"): lambda _: clock.now_ms(),
    }
