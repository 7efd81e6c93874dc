"""The API on a real worker: Flask's test client in front, the control protocol over HTTP behind."""

import itertools

import pytest

from chronos_api.app import create_app
from chronos_api.settings import settings_from
from tests.support.processes import worker_in_thread, write_config

_names = itertools.count(1)


@pytest.fixture(scope="package")
def worker(tmp_path_factory):
    with worker_in_thread(write_config(tmp_path_factory.mktemp("api"))) as (worker, config):
        yield worker, config


@pytest.fixture(scope="package")
def app(worker):
    return create_app(settings_from(worker[1]))


@pytest.fixture
def api(app):
    return app.test_client()


@pytest.fixture
def document():
    """A job nobody else has, far from being due."""
    return {"name": f"job-{next(_names)}", "schedule": "0 0 1 1 *", "webhook": {"url": "http://127.0.0.1:9/"}}


@pytest.fixture
def job(api, document):
    answer = api.post("/api/v1/jobs", json=document)
    assert answer.status_code == 201, answer.json
    return answer.json
