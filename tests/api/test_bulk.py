"""Documents of a batch are judged exactly as single ones, and lists of changes as their schema says."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from chronos_common.schemas.bulk import JobReader
from chronos_common.schemas.changes import MAX_CHANGES, Changes
from chronos_common.schemas.job import Defaults, JobDocument, spec_of

PLAIN = {
    "name": "daily-report",
    "schedule": "0 9 * * *",
    "timezone": "America/New_York",
    "webhook": {
        "url": "https://api.example.com/reports/generate",
        "method": "POST",
        "headers": {"Authorization": "Bearer token123"},
        "auth": {"type": "basic", "username": "u", "password": "p"},
        "success_codes": [200, "300-302"],
        "body": {"a": [1, None]},
    },
    "retry_policy": {"max_attempts": 3, "initial_interval": "1s", "multiplier": 2.0},
    "misfire": {"policy": "skip"},
    "retention": {"max_count": 5},
    "tags": {"team": "ops"},
    "timeout": "5m",
    "enabled": True,
}
VALUES = (
    None, True, 0, 1, -1, 1.5, "", "x", "5m", "0 0 30 2 *", "@hourly", "Europe/Berlin", "Europe/Berln", "a\x00b",
    "http://127.0.0.1/", "ftp://x/", [], [200], {}, {"url": "http://x/"}, {"policy": "skip"}, {"type": "bearer"},
    {"max_attempts": 0}, {"initial_interval": "2h", "max_interval": "1h"}, {"X-A": "a\r\nb"}, {"unknown": 1},
)  # fmt: skip
PATHS = (
    *((name,) for name in (*PLAIN, "nam", "description", "concurrency", "namespace")),
    *(("webhook", name) for name in (*PLAIN["webhook"], "urll")),
)


DEFAULTS = Defaults.built_in()


def by_schema(document):
    return spec_of(JobDocument().load(document), DEFAULTS)


def judged(load, document):
    try:
        return load(copy.deepcopy(document))
    except ValidationError as error:
        return error.messages


def changed(document, path, value):
    document = copy.deepcopy(document)
    *outer, last = path
    inside = document
    for name in outer:
        inside = inside[name]
    if value == "absent":
        inside.pop(last, None)
    else:
        inside[last] = value
    return document


def test_a_plain_document_is_accepted_by_both():
    assert JobReader(DEFAULTS).spec(PLAIN) == by_schema(PLAIN)


@given(st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(("absent", *VALUES))), max_size=2))
def test_a_batch_judges_every_document_as_a_single_request_does(changes):
    reader = JobReader(DEFAULTS)
    reader.spec(PLAIN)
    document = PLAIN
    for path, value in changes:
        if len(path) == 1 or isinstance(document.get("webhook"), dict):
            document = changed(document, path, value)
    expected = judged(by_schema, document)
    assert judged(reader.spec, document) == expected
    assert judged(reader.spec, document) == expected  # now remembered


ITEM_VALUES = ("create", "01a2096e-92dd-7b82-8d5e-10d1e213b897", "01A2096E92DD7B828D5E10D1E213B897", 5, None, {})


def with_text_ids(items):
    return [{**item, **({"id": str(item["id"])} if "id" in item else {})} for item in items]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(("op", "id", "job", "x")), st.sampled_from(ITEM_VALUES)),
        min_size=1,
        max_size=3,
    )
)
def test_a_list_of_changes_passes_quickly_only_if_it_would_pass_its_schema(items):
    def slowly(given):
        return with_text_ids(super(Changes, Changes())._deserialize(given, "items", {}))

    def quickly(given):
        return with_text_ids(Changes().deserialize(given))

    assert judged(quickly, items) == judged(slowly, items)


@pytest.mark.parametrize("count", [0, MAX_CHANGES + 1])
def test_the_length_of_a_batch_is_judged_before_its_items(count):
    with pytest.raises(ValidationError, match=f"has {count} items; accepted: 1 to {MAX_CHANGES}"):
        Changes().deserialize([{"op": 5}] * count)
