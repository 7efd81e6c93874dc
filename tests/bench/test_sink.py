"""Both sinks write down exactly what arrives."""

import http.client

import pytest

from bench.ledger import Span
from bench.sink import counted, lateness_ms, nginx_path, sink
from chronos_common.ids import occurrence_id, to_text

KINDS = [
    "own",
    pytest.param("nginx", marks=pytest.mark.skipif(nginx_path() is None, reason="nginx is not installed here")),
]
FIRE_TIME = 1_900_000_000_250


def _send(port, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def _launch(port, number, attempt=1):
    headers = {
        "X-Chronos-Scheduled-Time": "2030-03-17T17:46:40.250Z",
        "X-Chronos-Attempt": str(attempt),
        "X-Chronos-Execution-ID": to_text(occurrence_id(b"%d" % number, FIRE_TIME)),
    }
    assert _send(port, **headers) == 200


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_in_the_log_with_its_identity(tmp_path, kind):
    with sink(tmp_path / "sink", kind) as target:
        for number in range(3):
            _launch(target.port, number)
        _launch(target.port, 2, attempt=2)
        _send(target.port)  # not one of Chronos
        target.stop()
    arrivals = target.arrivals()
    assert counted(arrivals) == {occurrence_id(b"%d" % number, FIRE_TIME): 1 + (number == 2) for number in range(3)}
    assert {arrival.fire_time for arrival in arrivals} == {FIRE_TIME}
    assert len(lateness_ms(arrivals)) == 3, "a second attempt is not late but repeated"


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_span_asked_for_is_read(tmp_path, kind):
    with sink(tmp_path / "sink", kind) as target:
        _launch(target.port, 1)
        target.stop()
    assert len(target.arrivals(Span(FIRE_TIME, FIRE_TIME + 1))) == 1
    assert target.arrivals(Span(FIRE_TIME + 1, FIRE_TIME + 2)) == []
    assert target.arrivals(Span(FIRE_TIME - 1, FIRE_TIME)) == []


def test_a_slow_answer_takes_its_time_and_is_logged_when_it_is_asked_for(tmp_path):
    with sink(tmp_path / "sink", "own") as target:
        assert _send(target.port, "/wait/0.05") == 200
        target.stop()
