"""The OpenAPI document against the running API: no 5xx, no undocumented status, no answer off its schema."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = int(os.environ.get("CHRONOS_API_EXAMPLES", "8"))
"""Requests per endpoint; the long run uses 500."""


CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_wsgi("/api/openapi.json", app)


@pytest.fixture(scope="module")
def operations(schema):
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) >= 30
    return found


def test_every_endpoint_answers_as_documented(operations):
    problems = []
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def answers_as_documented(case):
            case.call_and_validate(checks=CHECKS)

        try:
            answers_as_documented()
        except (Exception, ExceptionGroup) as error:  # noqa: BLE001 - all endpoints are told of at once
            problems.append(f"{operation.label}: {error}")
    assert not problems, "\n\n".join(problems)
