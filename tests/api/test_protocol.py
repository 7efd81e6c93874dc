"""Messages between the tiers."""

import pytest

from chronos_common.protocol import decode


def test_only_kinds_whose_decoders_were_made_at_import_are_decoded():
    assert decode(b"\x01", int) == 1
    with pytest.raises(KeyError):
        decode(b"\x80", dict[str, int])
