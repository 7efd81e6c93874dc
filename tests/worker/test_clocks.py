"""Wall clocks that are moved, and clocks that differ: noticed, told, and harmless."""

import http.server
import threading

import pytest
import structlog

from chronos_common import ids
from chronos_common.commands import Fire, FireItem, Run, TriggerJob
from chronos_common.models import (
    AttemptStatus,
    ConcurrencyPolicy,
    ExecutionStatus,
    Misfire,
    MisfirePolicy,
    NodeInfo,
    NodeState,
    RetryPolicy,
    SkipReason,
)
from chronos_common.schedules import parse_schedule
from chronos_worker.clock_watch import THRESHOLD_MS, ClockStep, ClockWatch
from chronos_worker.dispatch import DeliveryResult
from chronos_worker.events import NOTE_LIFETIME_S, Events
from chronos_worker.lateness import Lateness
from chronos_worker.leader import MOVES_PER_PLAN, Planning
from chronos_worker.metrics import Metrics
from chronos_worker.skew import BOUND_MS, SkewReading, SkewWatch, ask_over_http, measure
from chronos_worker.state_machine.effects import Planned
from tests.state_machine.conftest import MINUTE, Ledger
from tests.support.clock import ManualClock

MINUTE_S = 60
ME = NodeInfo("n1", 1, NodeState.LIVE, "http://n1", 100)


@pytest.fixture
def clock():
    return ManualClock()


# -- noticing ---------------------------------------------------------------------------------------------


def test_a_moved_wall_clock_is_noticed_once_and_a_running_one_is_not(clock):
    watch = ClockWatch(clock)
    clock.run(5)
    assert watch.look() is None
    before = clock.wall
    clock.move(-3_600)
    assert watch.look() == ClockStep(-3_600_000, clock.mono, before, before - 3_600_000)
    assert watch.look() is None


def test_a_clock_that_is_slewed_is_left_alone(clock):
    watch = ClockWatch(clock)
    for _ in range(20):
        clock.run(1)
        clock.move(0.3)
        assert watch.look() is None
    clock.move(THRESHOLD_MS / 1_000)
    assert watch.look().by_ms == THRESHOLD_MS


class Interrupted(ManualClock):
    """Between the two readings the process does not run for a second, the first few times."""

    times = 0

    def now_ms(self):
        found = self.wall
        if self.times:
            self.times -= 1
            self.run(1)
        return found


@pytest.mark.parametrize("times", [1, 2, 3, 4, 7])
def test_a_process_that_was_interrupted_while_it_looked_does_not_take_that_for_a_step(times):
    clock = Interrupted()
    watch = ClockWatch(clock)
    clock.times = times
    assert [watch.look() for _ in range(5)] == [None] * 5


# -- telling ----------------------------------------------------------------------------------------------


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def events(metrics, clock):
    return Events(structlog.get_logger(), metrics, clock)


def value(metrics, name):
    return metrics.registry.get_sample_value(name)


def test_a_step_is_counted_and_told_for_an_hour(events, metrics, clock):
    events.clock_stepped(ClockStep(-3_600_000, clock.mono, clock.wall, clock.wall - 3_600_000))
    assert value(metrics, "chronos_clock_steps_total") == 1
    assert "moved by -3600.0 s" in events.notes()[0]
    clock.run(NOTE_LIFETIME_S - 1)
    assert len(events.notes()) == 1
    clock.run(2)
    assert events.notes() == ()


# -- measuring --------------------------------------------------------------------------------------------


class Attempt:
    """One attempt on this node, decided by a leader whose clock is `apart` seconds ahead of ours just then."""

    def __init__(self, lateness, clock, fire_time, *, way_s=0.002, apart_s=0.0):
        self.lateness, self.clock = lateness, clock
        at = clock.now_ms() + int(apart_s * 1_000)
        clock.run(way_s)
        self.begun = lateness.begun(fire_time, at, lateness.now())

    def send(self, after_s=0.0, takes_s=0.2):
        self.clock.run(after_s)
        self.started = self.clock.now_ms()
        self.takes_s = takes_s
        self.clock.run(takes_s)
        return self

    @property
    def lateness_ms(self):
        finished = self.started + int(self.takes_s * 1_000)
        result = DeliveryResult(bytes(16), 1, AttemptStatus.SUCCEEDED, False, self.started, finished)
        return self.lateness.of(self.begun, result, self.lateness.now())


@pytest.fixture
def lateness(clock):
    return Lateness(clock)


def step(lateness, clock, seconds, watch=None):
    watch = watch or ClockWatch(clock)
    clock.run(0.05)
    clock.move(seconds)
    lateness.clock_stepped(watch.look())


def test_lateness_counts_from_the_fire_time_through_log_and_queue(lateness, clock):
    attempt = Attempt(lateness, clock, clock.now_ms() - 1_000, way_s=1.5).send(after_s=0.25)
    assert attempt.lateness_ms == 2_750


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_of_the_leaders_own_clock_over_an_occurrence_is_no_lateness(lateness, clock, hours):
    fire_time = clock.now_ms() + 600_000
    step(lateness, clock, hours * 3_600)
    assert Attempt(lateness, clock, fire_time).send().lateness_ms <= 60


def test_a_step_of_the_leaders_clock_is_no_lateness_on_another_node(lateness, clock):
    fire_time = clock.now_ms() + 600_000
    assert Attempt(lateness, clock, fire_time, apart_s=3_600).send().lateness_ms == 0
    assert Attempt(lateness, clock, clock.now_ms() - 3_600_000, apart_s=-3_600).send(0.03).lateness_ms == 30


@pytest.mark.parametrize("seconds", [1, 30, -30])
def test_a_step_of_our_clock_alone_is_no_lateness_however_long_ago(lateness, clock, seconds):
    step(lateness, clock, seconds)
    clock.run(1_000)
    leaders_now = clock.now_ms() - seconds * 1_000
    attempt = Attempt(lateness, clock, leaders_now - 20, apart_s=-seconds).send(after_s=0.03)
    assert attempt.lateness_ms in (30, 50)


def test_after_a_step_real_lateness_is_measured_again(lateness, clock):
    step(lateness, clock, 3_600)
    clock.run(100)
    assert Attempt(lateness, clock, clock.now_ms() - 30_000, way_s=0.1).send().lateness_ms == 30_100


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_while_a_request_waits_or_runs_changes_nothing(lateness, clock, hours):
    waits = Attempt(lateness, clock, clock.now_ms(), way_s=0.0)
    clock.move(hours * 3_600)
    waits.send(after_s=0.5)
    assert waits.lateness_ms in (0, 500)
    runs = Attempt(lateness, clock, clock.now_ms(), way_s=0.0).send(after_s=0.5)
    clock.move(hours * 3_600)
    assert runs.lateness_ms == 500


# -- firing -----------------------------------------------------------------------------------------------


class Leader:
    """A leader's planning over real rows, by a clock that is moved; every attempt succeeds at once."""

    def __init__(self, path, clock):
        self.clock = clock
        self.ledger = Ledger(path)
        self.ledger.announce(self.ledger.machine.me)
        self.take_over(clock)

    def take_over(self, clock):
        """Another node leads, by a clock of its own, and knows nothing but the rows."""
        self.clock = clock
        self.watch = ClockWatch(clock)
        self.planning = Planning(self.ledger.database, self.ledger.machine)

    def create(self, schedule="* * * * *", **spec):
        now = self.clock.now_ms()
        due = parse_schedule(schedule, "UTC").next_after(now, now)
        return self.ledger.create(schedule, schedule=schedule, next_fire_time=due,
                                  concurrency=ConcurrencyPolicy.ALLOW, **spec)  # fmt: skip

    def step(self):
        if step := self.watch.look():
            self.planning.clock_stepped(step)
        while commands := self.planning.plan(self.clock.now_ms(), self.clock.monotonic_s(), [ME]):
            for command in commands:
                for effect in self.ledger.apply(command):
                    if isinstance(effect, Planned):
                        self.planning.applied(effect.at, self.clock.monotonic_s())
                self.planning.due_from(self.ledger.machine.due_from)
                if isinstance(command, Fire):
                    self._finish()

    def _finish(self):
        for execution in self.ledger.executions():
            if execution.status is ExecutionStatus.RUNNING:
                seq = self.ledger.seq_of_execution(execution)
                self.ledger.record(seq, 1)

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.clock.run(1)
            self.step()

    def fired(self):
        return [e.fire_time for e in self.ledger.executions() if e.skipped is None]

    def skipped(self):
        return [e.skipped for e in self.ledger.executions() if e.skipped is not None]


@pytest.fixture
def leader(tmp_path, clock):
    leader = Leader(tmp_path / "chronos.sqlite3", clock)
    yield leader
    leader.ledger.database.close()


def minutes(first, count):
    return [first + n * 60_000 for n in range(count)]


def test_a_clock_set_back_fires_nothing_twice_and_goes_on_from_where_it_was(leader, clock):
    noon = clock.now_ms()
    leader.create()
    leader.run(5 * MINUTE_S + 1)
    assert leader.fired() == minutes(noon + 60_000, 5)
    clock.move(-3 * MINUTE_S)
    leader.run(3 * MINUTE_S - 5)
    assert leader.fired() == minutes(noon + 60_000, 5)
    leader.run(2 * MINUTE_S)
    assert leader.fired() == minutes(noon + 60_000, 6)
    assert leader.skipped() == []


def test_a_clock_set_forward_leaves_a_row_for_every_occurrence_it_leapt_over(leader, clock):
    noon = clock.now_ms()
    leader.create(misfire=Misfire(MisfirePolicy.FIRE_ONCE))
    leader.run(1)
    clock.move(10 * MINUTE_S)
    leader.run(1)
    assert leader.fired() == [noon + 600_000]
    (row,) = leader.skipped()
    assert (row.reason, row.first_fire_time, row.last_fire_time, row.count) == (
        SkipReason.COALESCED, noon + 60_000, noon + 540_000, 9,
    )  # fmt: skip


def test_what_a_clock_leapt_over_is_not_late_and_runs_where_late_ones_are_skipped(leader, clock):
    noon = clock.now_ms()
    leader.create("0 * * * *", misfire=Misfire(MisfirePolicy.SKIP))
    leader.run(1)
    clock.move(2 * 3_600 - 60)
    leader.run(1)
    assert leader.fired() == [noon + 3_600_000]
    assert leader.skipped() == []


def test_what_was_missed_before_the_clock_was_set_forward_stays_missed(leader, clock):
    noon = clock.now_ms()
    leader.create("0 * * * *", misfire=Misfire(MisfirePolicy.SKIP))
    clock.run(3_600 + 1_800)  # nobody led meanwhile
    leader.take_over(clock)
    clock.move(2 * 3_600)
    leader.run(1)
    assert leader.fired() == []
    (row,) = leader.skipped()
    assert (row.reason, row.first_fire_time, row.last_fire_time) == (
        SkipReason.MISFIRE, noon + 3_600_000, noon + 3 * 3_600_000,
    )  # fmt: skip


def test_a_clock_that_leaps_and_is_set_right_again_fires_each_occurrence_once(leader, clock):
    noon = clock.now_ms()
    leader.create(misfire=Misfire(MisfirePolicy.FIRE_ALL))
    leader.run(90)
    clock.move(30 * MINUTE_S)
    leader.run(5)
    clock.move(-30 * MINUTE_S)
    leader.run(40 * MINUTE_S)
    fired = leader.fired()
    assert len(fired) == len(set(fired))
    assert fired == minutes(noon + 60_000, len(fired))
    assert len(fired) == 41


@pytest.mark.parametrize("skew_s", [-90, -2, 2, 90, 3_600])
def test_a_leader_with_another_clock_neither_doubles_nor_skips(leader, clock, skew_s):
    noon = clock.now_ms()
    leader.create(misfire=Misfire(MisfirePolicy.FIRE_ALL))
    leader.run(5 * MINUTE_S)
    other = ManualClock(clock.wall + skew_s * 1_000)
    leader.take_over(other)
    leader.run(5 * MINUTE_S)
    clock.run(5 * MINUTE_S)
    leader.take_over(clock)  # and back
    leader.run(5 * MINUTE_S)
    fired = leader.fired()
    assert fired == minutes(noon + 60_000, len(fired))
    assert leader.skipped() == []
    assert fired[-1] >= noon + 14 * 60_000


def waiting(leader):
    with leader.ledger.database.read() as connection:
        found = connection.exec_driver_sql("SELECT due_at FROM executions WHERE status = 'pending' ORDER BY due_at")
        return found.scalars().all()


def fail_with_retry(leader, seconds):
    """An attempt fails; the next is due in so many seconds."""
    job = leader.ledger.create(f"retried-{seconds}", next_fire_time=None, retry_policy=RetryPolicy(max_attempts=3))
    now = leader.clock.now_ms()
    asked = leader.ledger.request(TriggerJob(job.id, execution_id=leader.ledger.new_id(now)), at=now)
    leader.planning.due_from(now)
    leader.step()
    seq = leader.ledger.seq_of_execution(asked.answer.execution)
    leader.ledger.record(seq, 1, AttemptStatus.FAILED, retry_at=now + seconds * 1_000)
    leader.planning.due_from(0)


def test_a_retry_does_not_wait_longer_because_the_clock_was_set_back(leader, clock):
    fail_with_retry(leader, 5)
    fail_with_retry(leader, 300)
    leader.run(1)
    clock.move(-3_600)
    leader.run(3)
    assert [due_at - clock.now_ms() for due_at in waiting(leader)] == [1_000, 296_000]
    leader.run(2)
    assert len(waiting(leader)) == 1
    leader.run(296)
    assert waiting(leader) == []


def test_a_clock_set_back_again_and_again_adds_up(leader, clock):
    fail_with_retry(leader, 100)
    for _ in range(3):
        leader.run(1)
        clock.move(-3_600)
    leader.run(1)
    assert [due_at - clock.now_ms() for due_at in waiting(leader)] == [96_000]


def test_moves_the_log_did_not_take_are_planned_again(leader, clock):
    fail_with_retry(leader, 100)
    leader.run(1)
    clock.move(-60)
    leader.planning.clock_stepped(leader.watch.look())
    (lost,) = leader.planning.plan(clock.now_ms(), clock.monotonic_s(), [ME])
    leader.planning.lost()
    assert leader.planning.plan(clock.now_ms(), clock.monotonic_s(), [ME]) == [lost]


def test_more_waiting_executions_than_one_command_holds_are_all_moved(leader, clock):
    job = leader.ledger.create("many", concurrency=ConcurrencyPolicy.ALLOW)
    count = 2 * MOVES_PER_PLAN + 7
    start = clock.now_ms()
    runs = tuple(Run(ids.occurrence_id(b"many", n), n, None) for n in range(count))
    leader.ledger.apply(Fire(start, (), (FireItem(leader.ledger.seq_of(job), 1, MINUTE, None, runs),)))
    assert waiting(leader) == [start] * count
    clock.move(-3_600)
    leader.planning.clock_stepped(leader.watch.look())
    while commands := leader.planning.plan(clock.now_ms(), clock.monotonic_s(), []):  # nobody works
        for command in commands:
            leader.ledger.apply(command)
            leader.planning.applied(None, clock.monotonic_s())
    assert waiting(leader) == [start - 3_600_000] * count


# -- comparing --------------------------------------------------------------------------------------------


class Remote:
    """A clock `offset_s` ahead, reached by ways that take some time there and back."""

    def __init__(self, clock, offset_s, ways_s=((0.001, 0.001),)):
        self.clock, self.offset_s = clock, offset_s
        self.ways_s = list(ways_s)

    def __call__(self):
        there_s, back_s = self.ways_s.pop(0) if len(self.ways_s) > 1 else self.ways_s[0]
        self.clock.run(there_s)
        found = self.clock.now_ms() + int(self.offset_s * 1_000)
        self.clock.run(back_s)
        return found


@pytest.mark.parametrize("ways_s", [[(0.2, 0.0)], [(0.0, 0.2)], [(0.1, 0.1)], [(0.9, 0.1), (0.01, 0.0), (0.3, 0.3)]])
def test_a_skew_is_measured_within_the_error_it_states(clock, ways_s):
    reading = measure(Remote(clock, 7.5, ways_s), clock)
    assert abs(reading.offset_ms - 7_500) <= reading.error_ms
    assert reading.error_ms <= 101


def test_a_slow_network_alone_is_no_skew():
    assert not SkewReading(BOUND_MS + 900, 1_000).is_too_far
    assert SkewReading(-BOUND_MS - 900, 10).is_too_far


class Told:
    def __init__(self):
        self.nodes = []

    def clock_skewed(self, node_id, reading):
        self.nodes.append(node_id)


def test_the_leader_compares_every_working_node_and_tells_of_a_skewed_one_once(clock):
    remotes = {"http://b": Remote(clock, 0.0), "http://c": Remote(clock, -3.0)}
    nodes = [
        NodeInfo("a", 1, NodeState.LIVE, "http://a", 1),
        NodeInfo("b", 1, NodeState.LIVE, "http://b", 1),
        NodeInfo("c", 1, NodeState.DRAINING, "http://c", 1),
        NodeInfo("gone", 1, NodeState.LOST, "http://gone", 1),
    ]
    told = Told()
    watch = SkewWatch("a", lambda url: remotes[url](), clock, told)
    watch.look(nodes, leads=True)
    watch.look(nodes, leads=True)
    assert {name: reading.offset_ms for name, reading in watch.readings().items()} == {"b": 0, "c": -3_000}
    assert told.nodes == ["c"]
    watch.look(nodes, leads=False)
    assert watch.readings() == {}


def test_a_node_that_does_not_answer_has_no_reading(clock):
    def silent(_url):
        raise ConnectionRefusedError

    watch = SkewWatch("a", silent, clock, Told())
    watch.look([NodeInfo("b", 1, NodeState.LIVE, "http://b", 1)], leads=True)
    assert watch.readings() == {}


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnoon", b"SSH-2.0\r\n"])
def test_a_port_that_does_not_say_the_time_is_a_silent_node(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    try:
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            ask_over_http("secret")(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.server_close()
