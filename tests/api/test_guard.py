"""Who may ask what: every endpoint in every method, keys and their scopes, and how often."""

import pytest

from chronos_api.app import create_app
from chronos_api.keys import allows, find_key, hash_key
from chronos_api.rate_limit import MAX_CLIENTS, RateLimiter
from chronos_api.settings import ApiSettings
from chronos_common.config.keys import ApiKey

PUBLIC = ("/health", "/docs", "/api/openapi.json")
ANY_ID = "00000000-0000-7000-8000-000000000000"
KEYS = tuple(ApiKey(scope, hash_key(f"key-{scope}"), scope) for scope in ("read", "write", "admin"))


class Nobody:
    """A cluster no request of these tests may reach."""

    def __getattr__(self, name):
        raise AssertionError(f"the request got past the guard and called {name}")


@pytest.fixture(scope="module")
def locked():
    settings = ApiSettings(("http://127.0.0.1:9",), "unused", keys=KEYS)
    return create_app(settings, Nobody())


def guarded_calls(app):
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(PUBLIC):
            arguments = {name: ANY_ID if name.endswith("_id") else 1 for name in rule.arguments}
            with app.test_request_context():
                path = app.url_map.bind("localhost").build(rule.endpoint, arguments)
            for method in sorted(rule.methods - {"OPTIONS"}):
                yield method, path


def test_every_endpoint_but_health_and_documents_needs_a_key_in_every_method(locked):
    calls = list(guarded_calls(locked))
    assert ("HEAD", "/api/v1/jobs") in calls
    assert ("GET", "/metrics") in calls
    client = locked.test_client()
    answers = {call: client.open(call[1], method=call[0]).status_code for call in calls}
    assert {call: status for call, status in answers.items() if status != 401} == {}


def test_no_change_is_made_with_a_key_that_may_only_read(locked):
    client = locked.test_client()
    headers = {"X-API-Key": "key-read"}
    refused = {}
    for method, path in guarded_calls(locked):
        if method in ("PUT", "PATCH", "DELETE"):
            refused[method, path] = client.open(path, method=method, headers=headers).status_code
    assert refused
    assert set(refused.values()) == {403}


def test_a_key_is_found_by_its_hash_and_no_other_text_is():
    assert find_key("key-write", KEYS) is KEYS[1]
    assert find_key("key-", KEYS) is None
    assert find_key(KEYS[0].hash, KEYS) is None


def test_a_scope_includes_the_ones_below_and_none_above():
    assert [allows("write", needed) for needed in ("read", "write", "admin")] == [True, True, False]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_bucket_empties_and_fills_again_with_time():
    clock = Clock()
    limiter = RateLimiter(2.0, 2, clock)
    assert [limiter.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    clock.now = 0.5
    assert limiter.wait_s("a") == 0.0
    clock.now = 100.0
    assert [limiter.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.5]


def test_one_client_does_not_spend_what_another_may():
    limiter = RateLimiter(1.0, 1, Clock())
    assert limiter.wait_s("a") == 0.0
    assert limiter.wait_s("a") > 0
    assert limiter.wait_s("b") == 0.0


def test_the_clients_remembered_are_bounded():
    limiter = RateLimiter(0.1, 1, Clock())
    limiter.wait_s("first")
    for number in range(MAX_CLIENTS):
        limiter.wait_s(f"other-{number}")
    assert limiter.wait_s("first") == 0.0
