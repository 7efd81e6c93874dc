"""Jobs over HTTP, against a real worker."""

import pytest

from chronos_api.calls import EXTENSION


def pointers(answer):
    return {violation["pointer"] for violation in answer.json["violations"]}


def test_a_job_is_created_with_its_address_and_etag(api, document):
    answer = api.post("/api/v1/jobs", json=document)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    assert int(answer.headers["X-Chronos-Index"]) > 0
    assert api.get(answer.headers["Location"]).json == answer.json


def test_the_facts_of_a_new_job_are_complete(api, document):
    answer = api.post("/api/v1/jobs", json=document).json
    assert answer["retry_policy"] == {
        "max_attempts": 3, "initial_interval": "1s", "max_interval": "1m", "multiplier": 2.0,
    }  # fmt: skip
    assert (answer["timeout"], answer["concurrency"], answer["timezone"]) == ("5m", "forbid", "UTC")
    assert answer["misfire"]["policy"] == "fire_once"
    assert answer["schedule_status"] == "scheduled"
    assert answer["next_fire_time"].endswith("-01-01T00:00:00.000Z")


def test_a_method_follows_from_the_body(api, document):
    document["webhook"]["body"] = {"a": 1}
    assert api.post("/api/v1/jobs", json=document).json["webhook"]["method"] == "POST"


def test_a_repeated_idempotency_key_gets_the_same_answer(api, document):
    headers = {"Idempotency-Key": f"key-{document['name']}"}
    first = api.post("/api/v1/jobs", json=document, headers=headers)
    again = api.post("/api/v1/jobs", json=document, headers=headers)
    assert (again.status_code, again.json) == (first.status_code, first.json)


def test_an_idempotency_key_for_another_request_is_refused(api, document):
    headers = {"Idempotency-Key": f"key-{document['name']}"}
    api.post("/api/v1/jobs", json=document, headers=headers)
    answer = api.post("/api/v1/jobs", json={**document, "name": document["name"] + "x"}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_a_duplicate_name_is_a_conflict_that_names_its_holder(api, job, document):
    answer = api.post("/api/v1/jobs", json=document)
    assert answer.status_code == 409
    assert job["id"] in answer.json["detail"]
    assert answer.content_type == "application/problem+json"


def test_all_violations_come_at_once_with_pointers(api):
    answer = api.post(
        "/api/v1/jobs",
        json={
            "nam": "x",
            "schedule": "61 * * * *",
            "timezone": "Europe/Berln",
            "webhook": {"url": "ftp://x/", "headers": {"X-A": "a\r\nb"}},
            "retry_policy": {"max_attempts": 0, "initial_interval": "-1s"},
            "timeout": 5,
            "enabled": "yes",
        },
    )
    assert answer.status_code == 422
    assert pointers(answer) == {
        "/nam", "/name", "/schedule", "/timezone", "/webhook/url", "/webhook/headers/X-A",
        "/retry_policy/max_attempts", "/retry_policy/initial_interval", "/timeout", "/enabled",
    }  # fmt: skip
    by_pointer = {violation["pointer"]: violation for violation in answer.json["violations"]}
    assert "Europe/Berlin" in by_pointer["/timezone"]["accepted"]
    assert by_pointer["/nam"]["accepted"] == "name"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": "a\x00b"}, "/name"),
        ({"name": "a\x1bb"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": 5}, "/name"),
        ({"webhook": {"url": "file:///etc/passwd"}}, "/webhook/url"),
        ({"webhook": {"url": "https://user:pw@host/"}}, "/webhook/url"),
        ({"webhook": {"url": "https://@host/"}}, "/webhook/url"),
        ({"webhook": {"url": "https://host/", "body": "é" * 32_769}}, "/webhook/body"),
        ({"webhook": {"url": "https://host/", "body": {"a": "x" * 65_536}}}, "/webhook/body"),
        ({"webhook": None}, "/webhook"),
        ({"schedule": "0 0 30 2 *"}, "/schedule"),
        ({"schedule": "@at 2001-01-01T00:00:00Z"}, "/schedule"),
        ({"retry_policy": {"multiplier": -1}}, "/retry_policy/multiplier"),
        ({"tags": {"a": 1}}, "/tags"),
        (
            {"webhook": {"url": "http://x/", "headers": {"Authorization": "********"}}},
            "/webhook/headers/Authorization",
        ),
    ],
)
def test_what_cannot_be_a_job_is_refused_where_it_is_wrong(api, document, change, pointer):
    answer = api.post("/api/v1/jobs", json={**document, **change})
    assert answer.status_code == 422
    assert pointer in pointers(answer)


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"a": 1, "a": 2}', "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"[" * 100 + b"]" * 100, "application/json", 400),
        (b"a: 1", "text/yaml", 415),
        (b"x" * 2_000_000, "application/json", 413),
        (b"[]", "application/json", 422),
    ],
)
def test_a_body_that_is_no_document_is_refused(api, data, content_type, status):
    answer = api.post("/api/v1/jobs", data=data, content_type=content_type)
    assert answer.status_code == status
    assert answer.json["status"] == status


def test_a_body_over_the_bound_is_told_the_bound(api):
    assert (
        "1048576 bytes"
        in api.post("/api/v1/jobs", data=b"x" * 2_000_000, content_type="application/json").json["detail"]
    )
    batch = api.post("/api/v1/jobs:batch", data=b"x" * 9_000_000, content_type="application/json")
    assert (batch.status_code, "8388608 bytes" in batch.json["detail"]) == (413, True)


def test_an_unknown_query_parameter_is_told_once_with_the_known_ones(api):
    answer = api.get("/api/v1/jobs?limits=3")
    assert answer.status_code == 422
    assert answer.json["violations"] == [
        {"pointer": "#query/limits", "message": "is not a field here", "accepted": "limit"}
    ]


def test_an_unknown_id_is_not_found(api):
    answer = api.get("/api/v1/jobs/00000000-0000-7000-8000-000000000000")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_stale_if_match_is_refused_and_the_current_one_taken(api, job, document):
    path = f"/api/v1/jobs/{job['id']}"
    first = api.put(path, json={**document, "description": "x"}, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    stale = api.put(path, json={**document, "description": "y"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json["code"]) == (412, "precondition_failed")
    assert api.delete(path, headers={"If-Match": "nonsense"}).status_code == 422
    assert api.delete(path, headers={"If-Match": '"2"'}).status_code == 204
    assert api.get(path).status_code == 404


def test_put_fills_in_defaults_and_patch_keeps_the_rest(api, job, document):
    path = f"/api/v1/jobs/{job['id']}"
    api.patch(path, json={"timeout": "7s", "tags": {"a": "1", "b": "2"}})
    patched = api.patch(path, json={"tags": {"a": None}}, content_type="application/merge-patch+json").json
    assert (patched["timeout"], patched["tags"]) == ("7s", {"b": "2"})
    assert api.put(path, json=document).json["timeout"] == "5m"


def test_a_patch_that_makes_no_job_is_refused(api, job):
    answer = api.patch(f"/api/v1/jobs/{job['id']}", json={"webhook": {"url": "ftp://x"}})
    assert answer.status_code == 422
    assert "/webhook/url" in pointers(answer)


def test_secrets_are_masked_and_a_mask_sent_back_keeps_the_value(api, worker, document):
    document["webhook"] = {
        "url": "http://127.0.0.1:9/",
        "headers": {"Authorization": "Bearer token123", "X-Plain": "seen"},
        "auth": {"type": "basic", "username": "me", "password": "hidden"},
    }
    created = api.post("/api/v1/jobs", json=document)
    assert "token123" not in created.text
    assert "hidden" not in created.text
    assert created.json["webhook"]["headers"] == {"Authorization": "********", "X-Plain": "seen"}
    path = created.headers["Location"]
    answer = api.patch(path, json={"description": "x", "webhook": created.json["webhook"]})
    assert answer.status_code == 200
    from chronos_common.protocol import GetJob, decode_result

    read = GetJob(created.json["id"])
    client = api.application.extensions["chronos"].client
    stored = decode_result(read, client.query(read)).spec.target
    assert stored.headers["Authorization"] == "Bearer token123"
    assert stored.auth.password == "hidden"
    diff = api.get(f"{path}/versions/2/diff")
    assert [item["pointer"] for item in diff.json] == ["/description"]


def test_versions_from_the_first_and_back_again(api, job):
    path = f"/api/v1/jobs/{job['id']}"
    api.patch(path, json={"description": "second"})
    api.post(f"{path}/disable")
    listed = api.get(f"{path}/versions").json["items"]
    assert [(item["version"], item["change"]) for item in listed] == [(3, "disabled"), (2, "updated"), (1, "created")]
    back = api.post(f"{path}/rollback/1")
    assert (back.json["version"], back.json["description"], back.json["enabled"]) == (4, "", True)
    assert api.get(f"{path}/versions/4").json["change"] == "rolled_back"
    assert api.get(f"{path}/versions/99").status_code == 404
    diff = api.get(f"{path}/versions/3/diff?against=1").json
    assert {item["pointer"]: item["to"] for item in diff} == {"/description": "second", "/enabled": False}


def test_lists_are_filtered_sorted_and_paged(api, document):
    prefix = document["name"] + "-list-"
    for number in range(5):
        tags = {"parity": "even" if number % 2 == 0 else "odd"}
        api.post("/api/v1/jobs", json={**document, "name": f"{prefix}{number}", "tags": tags})
    first = api.get("/api/v1/jobs", query_string={"name_prefix": prefix, "limit": 2, "total": "true"}).json
    assert first["total"] == 5
    second = api.get(
        "/api/v1/jobs", query_string={"name_prefix": prefix, "limit": 2, "cursor": first["next_cursor"]}
    ).json
    names = [item["name"] for item in first["items"] + second["items"]]
    assert names == [f"{prefix}{number}" for number in range(4)]
    for sort in ("-name", "created_at", "-created_at", "next_fire_time"):
        seen, cursor = [], None
        while True:
            query = {"name_prefix": prefix, "limit": 2, "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = api.get("/api/v1/jobs", query_string=query).json
            seen += [item["name"] for item in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert len(seen) == len(set(seen)) == 5, sort
    odd = api.get("/api/v1/jobs", query_string={"tag": "parity:odd", "name_prefix": prefix}).json["items"]
    assert [item["name"] for item in odd] == [f"{prefix}1", f"{prefix}3"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "!!!"])
def test_a_cursor_from_elsewhere_is_refused(api, cursor):
    answer = api.get("/api/v1/jobs", query_string={"cursor": cursor})
    assert answer.status_code == 422
    assert pointers(answer) == {"#query/cursor"}


def test_a_cursor_of_another_list_is_refused(api, job, document):
    api.post("/api/v1/jobs", json={**document, "name": document["name"] + "b"})
    cursor = api.get("/api/v1/jobs", query_string={"limit": 1}).json["next_cursor"]
    answer = api.get("/api/v1/jobs", query_string={"limit": 1, "enabled": "true", "cursor": cursor})
    assert answer.status_code == 422


def test_an_unknown_query_parameter_is_refused(api):
    answer = api.get("/api/v1/jobs", query_string={"limt": "5"})
    assert (answer.status_code, pointers(answer)) == (422, {"#query/limt"})


def test_the_coming_fire_times_of_a_job(api, document):
    created = api.post("/api/v1/jobs", json={**document, "schedule": "30 2 29 3 *", "timezone": "Europe/Berlin"}).json
    coming = api.get(f"/api/v1/jobs/{created['id']}/next?count=2").json
    assert coming[0] == {"fire_time": created["next_fire_time"], "local": coming[0]["local"], "dst": coming[0]["dst"]}
    assert len(coming) == 2
    disabled = api.post("/api/v1/jobs", json={**document, "name": document["name"] + "d", "enabled": False}).json
    assert disabled["schedule_status"] == "disabled"
    assert api.get(f"/api/v1/jobs/{disabled['id']}/next").json == []


def test_a_schedule_can_be_tried_out(api):
    answer = api.post("/api/v1/schedules/validate", json={"schedule": "0 9 * * MON-FRI", "count": 2}).json
    assert answer["valid"]
    assert answer["description"] == "At 09:00, on Monday to Friday, in UTC"
    assert len(answer["next"]) == 2
    wrong = api.post("/api/v1/schedules/validate", json={"schedule": "* * * * * * *"}).json
    assert not wrong["valid"]
    assert wrong["violations"][0]["pointer"] == "/schedule"


def test_a_batch_reports_each_item(api, job, document):
    items = [
        {"op": "create", "job": {**document, "name": document["name"] + "-1"}},
        {"op": "create", "job": {**document}},
        {"op": "create", "job": {"name": 5}},
        {"op": "update", "id": job["id"], "job": {**document, "description": "batched"}},
        {"op": "delete", "id": "00000000-0000-7000-8000-000000000000"},
    ]
    answer = api.post("/api/v1/jobs:batch", json={"items": items}).json
    assert [item["status"] for item in answer["items"]] == ["created", "rejected", "rejected", "updated", "rejected"]
    assert answer["items"][1]["problem"]["code"] == "conflict"
    assert answer["items"][2]["problem"]["violations"][0]["pointer"].startswith("/items/2/job/")


def test_an_atomic_batch_is_all_or_nothing(api, job, document):
    items = [
        {"op": "create", "job": {**document, "name": document["name"] + "-1"}},
        {"op": "create", "job": document},
    ]
    answer = api.post("/api/v1/jobs:batch", json={"items": items, "atomic": True}).json
    assert not answer["applied"]
    found = api.get("/api/v1/jobs", query_string={"name_prefix": document["name"] + "-1"}).json
    assert found["items"] == []


def test_a_large_batch_spans_several_commands(api, document):
    items = [{"op": "create", "job": {**document, "name": f"{document['name']}-{n:04}"}} for n in range(1_500)]
    answer = api.post("/api/v1/jobs:batch", json={"items": items}, headers={"Idempotency-Key": document["name"]})
    assert {item["status"] for item in answer.json["items"]} == {"created"}
    again = api.post("/api/v1/jobs:batch", json={"items": items}, headers={"Idempotency-Key": document["name"]})
    assert again.json == answer.json


class Watched:
    """A cluster client whose reads are remembered."""

    def __init__(self, client):
        self._client = client
        self.strong = []

    def query(self, what, **how):
        self.strong.append(how["strong"])
        return self._client.query(what, **how)

    def __getattr__(self, name):
        return getattr(self._client, name)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"tags": {"a": "b"}}),
        ("POST", "/disable", None),
        ("POST", "/rollback/1", None),
    ],
)
def test_a_change_is_made_from_what_a_majority_confirmed(app, api, job, method, path, body):
    """A worker that lags would say that an acknowledged job is not there."""
    services = app.extensions[EXTENSION]
    client, services.client = services.client, Watched(services.client)
    try:
        assert api.open(f"/api/v1/jobs/{job['id']}{path}", method=method, json=body).status_code == 200
        assert services.client.strong
        assert all(services.client.strong)
        services.client.strong.clear()
        api.get(f"/api/v1/jobs/{job['id']}")
        assert services.client.strong == [False]
    finally:
        services.client = client
