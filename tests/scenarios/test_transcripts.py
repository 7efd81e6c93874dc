"""What chance seldom reaches, as transcripts that a person can read."""

from __future__ import annotations

import pytest

from tests.scenarios.transcript import played, scenarios, written


@pytest.mark.parametrize("name", scenarios())
def test_it_goes_as_written_in(name, tmp_path):
    assert played(name, tmp_path) == written(name)
