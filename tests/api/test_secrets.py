"""What of a job is hidden, what a hidden value sent back means, and how differences are named."""

import pytest

from chronos_common.models import ApiKeyAuth, BasicAuth, BearerAuth, HttpTarget
from chronos_common.schemas.secrets import MASK, NothingStored, differences, has_mask, masked, unmasked

URL = "https://example.com/"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-API-Key", "X-Auth-Token", "client-secret",
     "X-Password", "apikey", "X-Hub-Signature"],
)  # fmt: skip
def test_a_header_that_looks_secret_is_hidden(name):
    assert masked(HttpTarget(URL, headers={name: "value"})).headers == {name: MASK}


def test_other_headers_are_shown():
    headers = {"Accept": "text/plain", "X-Request-Source": "cron"}
    assert masked(HttpTarget(URL, headers=headers)).headers == headers


@pytest.mark.parametrize("auth", [BasicAuth("me", "hidden"), BearerAuth("hidden"), ApiKeyAuth("hidden", "X-K")])
def test_credentials_are_hidden_and_a_mask_means_the_stored_ones(auth):
    stored = HttpTarget(URL, auth=auth)
    shown = masked(stored)
    assert "hidden" not in repr(shown)
    assert has_mask(shown)
    assert unmasked(shown, stored) == stored


def test_a_masked_header_is_found_whatever_the_case_of_its_name():
    stored = HttpTarget(URL, headers={"Authorization": "Bearer x"})
    assert unmasked(HttpTarget(URL, headers={"authorization": MASK}), stored).headers == {"authorization": "Bearer x"}


def test_a_mask_of_another_kind_of_credentials_stands_for_nothing():
    stored = HttpTarget(URL, auth=BearerAuth("hidden"))
    with pytest.raises(NothingStored) as refused:
        unmasked(HttpTarget(URL, auth=BasicAuth("me", MASK)), stored)
    assert refused.value.pointer == "/auth"


def test_asterisks_in_a_plain_header_are_just_text():
    target = HttpTarget(URL, headers={"X-Stars": MASK})
    assert unmasked(target, None) == target


def test_differences_have_pointers_a_json_pointer_reader_understands():
    before = {"tags": {"team/a~b": "1", "same": "x"}, "timeout": "5m"}
    after = {"tags": {"same": "x"}, "timeout": "1m"}
    assert differences(before, after) == [
        {"pointer": "/tags/team~1a~0b", "from": "1", "to": None},
        {"pointer": "/timeout", "from": "5m", "to": "1m"},
    ]
