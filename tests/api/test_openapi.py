"""The OpenAPI document against the running API: no 5xx, no undocumented status, no answer off its schema."""

import os

import pytest
import schemathesis
from schemathesis import GenerationMode

from tests.support.openapi import deviations, operations_of

EXAMPLES = int(os.environ.get("CHRONOS_API_EXAMPLES", "8"))
"""Requests per endpoint; the long run uses 500."""


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_wsgi("/api/openapi.json", app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_endpoint_answers_as_documented(schema, mode):
    found = deviations(operations_of(schema), mode, EXAMPLES)
    assert not found, "\n\n".join(found)


@pytest.fixture(scope="module")
def document(app):
    return app.test_client().get("/api/openapi.json").json


def described(document):
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            if verb != "parameters":
                yield f"{verb} {path}", operation


def test_no_endpoint_hides_statuses_behind_a_catch_all(document):
    assert [name for name, operation in described(document) if "default" in operation["responses"]] == []


def test_every_error_is_described_as_a_problem(document):
    for name, operation in described(document):
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_every_endpoint_but_health_names_the_scope_it_needs(document):
    scopes = {name: operation.get("x-chronos-scope") for name, operation in described(document)}
    assert {name for name, scope in scopes.items() if scope is None} == {
        "get /health", "get /health/live", "get /health/ready",
    }  # fmt: skip
    assert scopes["get /api/v1/jobs"] == "read"
    assert scopes["post /api/v1/jobs"] == "write"
    assert scopes["post /api/v1/cluster/snapshot"] == "admin"
    operation = document["paths"]["/api/v1/jobs"]["post"]
    assert {"bearer": ["write"]} in operation["security"]
    assert document["paths"]["/health"]["get"]["security"] == []


def test_headers_and_examples_are_part_of_the_description(document):
    create = document["paths"]["/api/v1/jobs"]["post"]
    assert {"ETag", "Location"} <= create["responses"]["201"]["headers"].keys()
    assert "Retry-After" in create["responses"]["503"]["headers"]
    assert create["requestBody"]["content"]["application/json"]["example"]["name"] == "daily-report"
    read = document["paths"]["/api/v1/jobs/{job_id}"]["get"]
    assert "X-Chronos-Min-Index" in {parameter["name"] for parameter in read["parameters"]}
    assert "X-Chronos-Index" in read["responses"]["200"]["headers"]


def test_the_example_of_a_job_is_one(app, document):
    example = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = app.test_client().post("/api/v1/jobs", json={**example, "name": "the example"})
    assert answer.status_code == 201, answer.json


def test_every_answer_tells_a_browser_to_trust_nothing_in_it(app):
    headers = app.test_client().get("/api/v1/jobs").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
