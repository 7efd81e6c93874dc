"""Jobs from the command line: names, files, batches, apply."""

from __future__ import annotations

import json

import yaml

from cli.chronosctl.loading import Change, parts

JOB = {"name": "daily", "webhook": {"url": "http://t.example/"}}
PAGE = {"items": [], "next_cursor": None}


def page(*items):
    return {"items": list(items), "next_cursor": None}


def write(tmp_path, *documents):
    path = tmp_path / "jobs.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def as_stored(make_job, name="daily", number=1, **fields):
    return make_job(name, number, schedule=None, **fields)


def test_a_name_finds_its_job_among_longer_ones(api, run, make_job):
    api.on("GET", "/jobs", 200, page(make_job("daily", 1), make_job("daily-report", 2)))
    api.on("GET", "/jobs/01a20971-0000-7000-8000-000000000001", 200, make_job("daily"))
    assert run("job", "get", "daily").status == 0
    assert api.calls[0].query["name_prefix"] == ["daily"]


def test_a_prefix_alone_names_nothing(api, run, make_job):
    api.on("GET", "/jobs", 200, page(make_job("daily-report")))
    ended = run("job", "get", "daily")
    assert ended.status == 4
    assert "there is no job named 'daily'" in ended.err


def test_a_name_of_two_namespaces_has_to_be_told_apart(api, run, make_job):
    api.on("GET", "/jobs", 200, page(make_job("daily", 1), make_job("daily", 2, namespace="other")))
    ended = run("job", "delete", "daily")
    assert ended.status == 5
    assert "in namespace other" in ended.err
    assert api.sent("DELETE") == []


def test_a_list_follows_the_cursor_and_says_when_there_is_more(api, run, make_job):
    api.on("GET", "/jobs", 200, {"items": [make_job("a")], "next_cursor": "next"})
    api.on("GET", "/jobs", 200, {"items": [make_job("b"), make_job("c")], "next_cursor": None})
    ended = run("job", "list", "--limit", "2", "--tag", "team=ops", "--disabled", "-o", "json")
    assert [item["name"] for item in json.loads(ended.out)] == ["a", "b"]
    assert "the first 2 are shown" in ended.err
    assert api.calls[1].query["cursor"] == ["next"]
    assert api.calls[0].query["tag"] == ["team:ops"]
    assert api.calls[0].query["enabled"] == ["false"]


def test_one_refused_job_does_not_stop_the_others(api, run, make_job, make_problem, tmp_path):
    api.on("POST", "/jobs", 409, make_problem(409, "conflict", "the name 'a' is taken"))
    api.on("POST", "/jobs", 201, make_job("b"))
    ended = run("job", "create", "-f", write(tmp_path, {"name": "a"}, {"name": "b"}))
    assert ended.status == 5
    assert "created" in ended.out
    assert "1 of 2 were refused" in ended.err
    assert "document 1 (a): the name 'a' is taken" in ended.err


def test_more_than_twenty_go_in_batches_of_five_hundred(api, run, make_problem, tmp_path):
    def done(body):
        items = [
            {"status": "created", "id": f"id-{item['job']['name']}", "version": 1, "problem": None}
            for item in body["items"]
        ]
        if len(items) < 500:
            refused = make_problem(
                422, "invalid_request", "bad", violations=[{"pointer": "/items/0", "message": "m"}]
            )
            items[0] = {"status": "rejected", "id": None, "version": None, "problem": refused}
        return {"items": items, "applied": True}

    api.on("POST", "/jobs:batch", 200, done)
    ended = run("job", "create", "-f", write(tmp_path, *({"name": f"n{n}"} for n in range(510))))
    assert [len(call.body["items"]) for call in api.calls] == [500, 10]
    assert api.calls[0].body["items"][3] == {"op": "create", "job": {"name": "n3"}}
    assert ended.status == 2
    assert "document 501 (n500): bad" in ended.err


def test_large_jobs_go_in_smaller_batches():
    job = {"webhook": {"body": "x" * 200_000}}
    large = [Change("create", f"n{number}", f"document {number}", job=job) for number in range(30)]
    assert [len(part) for part in parts(large)] == [20, 10]


def test_a_load_that_is_cut_off_says_how_far_it_came(api, run, make_job, make_problem, tmp_path):
    api.on("POST", "/jobs", 201, make_job("a"))
    api.on("POST", "/jobs", 401, make_problem(401, "unauthenticated"))
    api.on("POST", "/jobs", 200, b"<html>", Content_Type="text/html")
    ended = run("job", "create", "-f", write(tmp_path, *({"name": name} for name in "abc")))
    assert ended.status == 1
    assert "2 of 3 had been answered before" in ended.err


def test_update_replaces_and_can_insist_on_a_version(api, run, make_job, tmp_path):
    job = make_job("daily")
    api.on("PUT", f"/jobs/{job['id']}", 200, {**job, "version": 5})
    ended = run("job", "update", job["id"], "-f", write(tmp_path, JOB), "--if-version", "4")
    assert ended.out == "updated daily, now version 5\n"
    assert api.calls[0].headers["if-match"] == '"4"'
    assert api.calls[0].body == JOB


def test_apply_leaves_alone_what_only_spells_its_defaults_otherwise(api, run, make_job, tmp_path):
    api.on("GET", "/jobs", 200, page(as_stored(make_job)))
    document = {**JOB, "retention": {"max_age": "720h"}, "namespace": "default"}
    ended = run("job", "apply", "-f", write(tmp_path, document))
    assert ended.status == 0
    assert "1 of 1 unchanged" in ended.err
    assert {call.method for call in api.calls} == {"GET"}


def test_a_dry_run_shows_the_difference_and_changes_nothing(api, run, make_job, tmp_path):
    api.on("GET", "/jobs", 200, page(as_stored(make_job)))
    ended = run("job", "apply", "--dry-run", "-f", write(tmp_path, {**JOB, "timeout": "5s"}, {**JOB, "name": "new"}))
    shown = ended.out.splitlines()
    assert shown[:3] == ["update: daily", "--- daily (version 4)", f"+++ daily ({tmp_path}/jobs.yaml, document 1)"]
    assert [line for line in shown[3 : shown.index("create: new")] if line[0] in "-+"] == [
        "-timeout: 9m",
        "+timeout: 5s",
    ]
    assert "+  url: http://t.example/" in shown[shown.index("create: new") :]
    assert "1 to create, 1 to update, 0 to delete" in ended.err
    assert {call.method for call in api.calls} == {"GET"}


def test_apply_sends_what_the_server_chose_back_as_it_was(api, run, make_job, tmp_path):
    job = as_stored(make_job)
    api.on("GET", "/jobs", 200, page(job))
    api.on("PUT", f"/jobs/{job['id']}", 200, {**job, "version": 5})
    ended = run("job", "apply", "-f", write(tmp_path, {**JOB, "description": "new", "misfire": {"grace": "2m"}}))
    assert ended.status == 0
    (put,) = api.sent("PUT")
    assert put.headers["if-match"] == '"4"'
    assert put.body["timeout"] == "9m"
    assert put.body["misfire"] == {"policy": "skip", "grace": "2m"}
    assert put.body["retry_policy"]["max_attempts"] == 7


def masked(make_job):
    job = as_stored(make_job)
    job["webhook"]["auth"] = {"type": "bearer", "token": "********"}
    return job


SECRET = {"name": "daily", "webhook": {"url": "http://t.example/", "auth": {"type": "bearer", "token": "real"}}}


def test_a_masked_secret_is_no_difference(api, run, make_job, tmp_path):
    api.on("GET", "/jobs", 200, page(masked(make_job)))
    ended = run("job", "apply", "-f", write(tmp_path, SECRET))
    assert ended.status == 0
    assert api.sent("PUT") == []
    assert "--send-secrets" in ended.err


def test_a_secret_that_cannot_be_compared_is_no_line_of_the_diff(api, run, make_job, tmp_path):
    job = masked(make_job)
    job["webhook"] = dict(reversed(job["webhook"].items()))
    api.on("GET", "/jobs", 200, page(job))
    ended = run("job", "apply", "--dry-run", "-f", write(tmp_path, {**SECRET, "description": "new"}))
    assert "+description: new" in ended.out
    changed = [line for line in ended.out.splitlines() if line[0] in "-+" and line[:3] not in ("---", "+++")]
    assert [line.partition(":")[0] for line in changed] == ["-description", "+description"]
    assert "token: (secret, may differ)" in ended.out
    assert "real" not in ended.out


def test_secrets_are_sent_anew_when_asked(api, run, make_job, tmp_path):
    job = masked(make_job)
    api.on("GET", "/jobs", 200, page(job))
    api.on("PUT", f"/jobs/{job['id']}", 200, job)
    ended = run("job", "apply", "--send-secrets", "-f", write(tmp_path, SECRET))
    assert ended.status == 0
    assert api.sent("PUT")[0].body["webhook"]["auth"]["token"] == "real"
    assert "real" not in ended.out + ended.err


def test_a_dry_run_shows_no_secret(api, run, tmp_path):
    api.on("GET", "/jobs", 200, PAGE)
    ended = run("job", "apply", "--dry-run", "-o", "yaml", "-f", write(tmp_path, SECRET))
    assert "real" not in ended.out + ended.err
    assert "********" in ended.out


def test_prune_deletes_what_carries_the_tag_and_is_in_no_file(api, run, make_job, tmp_path):
    kept, gone = as_stored(make_job, number=1), as_stored(make_job, "old", 2)
    elsewhere = as_stored(make_job, "far", 3, namespace="other")
    api.on("GET", "/jobs", 200, page(kept))
    api.on("GET", "/jobs", 200, page(kept, gone, elsewhere))
    api.on("DELETE", f"/jobs/{gone['id']}", 204, None)
    ended = run("job", "apply", "--prune", "--selector", "set=a", "--yes", "-f", write(tmp_path, JOB))
    assert ended.status == 0
    assert [call.path for call in api.sent("DELETE")] == [f"/api/v1/jobs/{gone['id']}"]
    assert api.calls[1].query["tag"] == ["set:a"]


def test_prune_deletes_nothing_unasked_without_a_terminal(api, run, make_job, tmp_path):
    api.on("GET", "/jobs", 200, page(as_stored(make_job), as_stored(make_job, "old", 2)))
    ended = run("job", "apply", "--prune", "--selector", "set=a", "-f", write(tmp_path, JOB))
    assert ended.status == 2
    assert "old" in ended.err
    assert api.sent("DELETE") == []


def test_prune_without_a_selector_is_refused(api, run, tmp_path):
    assert run("job", "apply", "--prune", "-f", write(tmp_path, JOB)).status == 2
    assert api.calls == []


def test_apply_refuses_a_bad_job_before_it_changes_any(api, run, tmp_path):
    api.on("GET", "/jobs", 200, PAGE)
    ended = run("job", "apply", "-f", write(tmp_path, JOB, {**JOB, "name": "b", "tiemout": "5s"}))
    assert ended.status == 2
    assert "document 2" in ended.err
    assert "/tiemout: is not a field here; accepted: timeout" in ended.err
    assert api.sent("POST") == []


def test_apply_refuses_a_name_given_twice(api, run, tmp_path):
    api.on("GET", "/jobs", 200, PAGE)
    ended = run("job", "apply", "-f", write(tmp_path, JOB, JOB))
    assert ended.status == 2
    assert "already in" in ended.err


def test_what_is_exported_can_be_applied(api, run, make_job, tmp_path):
    api.on("GET", "/jobs", 200, page(masked(make_job)))
    exported = run("job", "export").out
    (tmp_path / "e.yaml").write_text(exported)
    ended = run("job", "apply", "-f", str(tmp_path / "e.yaml"))
    assert (ended.status, ended.err) == (0, "1 of 1 unchanged\n")


def test_versions_a_diff_and_a_way_back(api, run, make_job):
    job = make_job("daily")
    path = f"/jobs/{job['id']}"
    edition = {"version": 2, "created_at": "t", "change": "updated", "principal": "p"}
    api.on("GET", f"{path}/versions", 200, page(edition))
    api.on("GET", f"{path}/versions/2/diff", 200, [{"pointer": "/timeout", "from": "5m", "to": "1m"}])
    api.on("POST", f"{path}/rollback/1", 200, {**job, "version": 3})
    assert "updated" in run("job", "versions", job["id"]).out
    assert run("job", "diff", job["id"], "2", "--against", "1").out == "- /timeout: '5m'\n+ /timeout: '1m'\n"
    assert api.calls[1].query == {"against": ["1"]}
    assert "now version 3" in run("job", "rollback", job["id"], "1").out
