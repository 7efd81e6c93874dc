import pytest

from tests.dispatch.receiver import Receiver


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running
