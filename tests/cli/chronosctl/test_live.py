"""The program against a real API in front of a real worker: what the pretended API cannot know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from werkzeug.serving import WSGIRequestHandler, make_server

from chronos_api.app import create_app
from chronos_api.settings import settings_from
from tests.support.processes import free_port, worker_in_thread, write_config
from tests.support.sink import sink


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[str]:
    with worker_in_thread(write_config(tmp_path_factory.mktemp("live"))) as (_, config):
        server = make_server("127.0.0.1", 0, create_app(settings_from(config)), threaded=True, request_handler=Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def ctl(run, live):
    def go(*arguments, status=0):
        ended = run(*arguments, CHRONOS_SERVER=live)
        assert ended.status == status, ended
        return ended

    return go


@pytest.fixture
def target():
    with sink() as running:
        yield running


@pytest.fixture
def write(tmp_path):
    def to_file(*documents):
        path = tmp_path / "jobs.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    return to_file


def manual(name, url="http://127.0.0.1:9/", **fields):
    return {"name": name, "webhook": {"url": url}, "retry_policy": {"max_attempts": 1}, **fields}


def test_a_job_lives_from_its_file_to_its_end(ctl, write, target):
    ctl("job", "create", "-f", write(manual("life", target.url, schedule="0 0 1 1 *")))
    assert "life" in ctl("job", "list", "--name-prefix", "life").out
    assert len(ctl("job", "next", "life", "--count", "2").out.splitlines()) == 3
    ended = ctl("job", "trigger", "life", "--wait", "--timeout", "30s", "-o", "json")
    execution = json.loads(ended.out)
    assert target.requests == {execution["id"]: 1}
    again = json.loads(ctl("execution", "replay", execution["id"], "--wait", "-o", "json").out)
    assert again["replay_of"] == execution["id"]
    assert len(target.requests) == 2
    listed = json.loads(ctl("execution", "list", "life", "--trigger", "replay", "-o", "json").out)
    assert [item["id"] for item in listed] == [again["id"]]
    ctl("execution", "cancel", execution["id"], status=5)
    ctl("job", "update", "life", "-f", write(manual("life", target.url, timeout="7s")), "--if-version", "1")
    stale = ctl("job", "update", "life", "-f", write(manual("life", target.url)), "--if-version", "1", status=5)
    assert "version" in stale.err
    assert "/timeout" in ctl("job", "diff", "life", "2").out
    assert "now version 3" in ctl("job", "rollback", "life", "1").out
    assert len(json.loads(ctl("job", "versions", "life", "-o", "json").out)) == 3
    ctl("job", "disable", "life")
    assert "next at 20" in ctl("job", "enable", "life").out
    ctl("job", "delete", "life")
    ctl("job", "get", "life", status=4)


def test_a_target_that_refuses_is_status_7_with_the_reason(ctl, write):
    ctl("job", "create", "-f", write(manual("refused", f"http://127.0.0.1:{free_port()}/")))
    ended = ctl("job", "trigger", "refused", "--wait", "--timeout", "30s", status=7)
    assert "of refused failed" in ended.err
    assert "connect to 127.0.0.1" in ended.err.partition(" failed")[2]


def test_what_the_api_refuses_is_told_by_pointer_with_what_it_accepts(ctl, write):
    ended = ctl("job", "create", "-f", write(manual("bad", "ftp://x/", schedule="0 0 30 2 *")), status=2)
    assert "/schedule: " in ended.err
    assert "/webhook/url: " in ended.err
    assert "accepted: " in ended.err


def test_applying_twice_and_applying_an_export_change_nothing(ctl, write, tmp_path):
    secret = manual("secret", tags={"set": "s"})
    secret["webhook"]["headers"] = {"X-Api-Key": "very-secret", "X-Plain": "1"}
    plain = manual("plain", tags={"set": "s"}, schedule="@every 90s", timezone="Europe/Berlin")
    assert ctl("job", "apply", "-f", write(secret, plain)).out.count("created") == 2
    assert "2 of 2 unchanged" in ctl("job", "apply", "-f", write(secret, plain)).err
    exported = ctl("job", "export", "--tag", "set=s").out
    assert "very-secret" not in exported
    (tmp_path / "export.yaml").write_text(exported)
    assert ctl("job", "apply", "-f", str(tmp_path / "export.yaml")).err == "2 of 2 unchanged\n"
    shown = ctl("job", "apply", "--dry-run", "-f", write(secret, {**plain, "timeout": "1s"})).out
    assert "/webhook/headers/X-Api-Key: (secret, may differ)" in shown
    assert "+timeout: 1s" in shown
    assert "very-secret" not in shown


def test_many_jobs_go_in_batches_and_prune_takes_those_left_out(ctl, write):
    many = [manual(f"many-{n}", tags={"set": "many"}) for n in range(30)]
    assert ctl("job", "apply", "-f", write(*many)).out.count("created") == 30
    options = ("--prune", "--selector", "set=many", "--yes")
    assert ctl("job", "apply", "-f", write(*many[:25]), *options).out.count("deleted") == 5
    assert len(json.loads(ctl("job", "list", "--tag", "set=many", "-o", "json").out)) == 25
    ended = ctl("job", "create", "-f", write(*many), status=5)
    assert "25 of 30 were refused" in ended.err


def test_the_crontab_and_the_forty_jobs_are_taken_as_they_are(ctl, tmp_path):
    text = Path("examples/jobs.yaml").read_text(encoding="utf-8").replace(":9000/", ":9/")
    (tmp_path / "jobs.yaml").write_text(text.replace("\nschedule: ", "\nenabled: false\nschedule: "))
    ended = ctl("job", "create", "-f", str(tmp_path / "jobs.yaml"), "-o", "json")
    assert {row["status"] for row in json.loads(ended.out)} == {"created"}
    template = ("--url-template", "http://127.0.0.1:9/", "--body-template", '{"run": "{command}"}')
    ended = ctl("job", "import-crontab", "examples/crontab.sample", *template, "--tag", "from=crontab", status=2)
    assert ended.out.count("created") == 9
    (job,) = json.loads(ctl("job", "list", "--name-prefix", "certbot", "-o", "json").out)
    assert job["webhook"]["body"] == {"run": "/usr/bin/certbot renew --quiet"}


def test_what_is_asked_of_schedules_webhooks_and_the_cluster_is_answered(ctl, write, target):
    assert "Berlin" in ctl("schedule", "validate", "30 2 * * *", "--timezone", "Europe/Berlin").out
    assert len(ctl("schedule", "next", "@daily", "--count", "3").out.splitlines()) == 4
    assert "Europe/Berlin" in ctl("schedule", "next", "@daily", "--timezone", "Europe/Berln", status=2).err
    ctl("webhook", "test", "-f", write({"url": f"http://127.0.0.1:{free_port()}/"}), status=7)
    assert "leader node-1" in ctl("cluster", "status").out
    ctl("cluster", "snapshot")
    ctl("cluster", "log-level", "warning")
