"""Asking every endpoint what its document says it may be asked, and holding the answers against the document."""

from urllib.parse import urlencode

from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

LONGEST_QUERY = 6_000
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def operations_of(schema):
    """Every endpoint of the document."""
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) >= 30
    return found


def deviations(operations, mode, examples, **call):
    """What answers off the document, one text for each endpoint; `examples` requests to each."""
    found = []
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def answers_as_documented(case):
            # Longer lines are refused by the HTTP server before the API sees them (docs/api.md).
            assume(len(urlencode(case.query or {})) < LONGEST_QUERY)
            case.headers.pop("X-Chronos-Min-Index", None)  # no worker reaches an index made up: rightly 503
            case.call_and_validate(checks=CHECKS, **call)

        try:
            answers_as_documented()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # it takes nothing that could be wrong
        except (Exception, ExceptionGroup) as error:  # noqa: BLE001 - all endpoints are told of at once
            found.append(f"{operation.label}: {error}")
    return found
