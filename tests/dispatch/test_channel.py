import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos_worker.dispatch.channel import FrameReader, FrameTooLarge, frame
from chronos_worker.dispatch.messages import Assignment, Delivery, Instructions, Orders
from tests.dispatch.making import delivery


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_messages_come_out_as_they_went_in_however_the_bytes_arrive(messages, step):
    stream = b"".join(map(frame, messages))
    reader = FrameReader()
    found = [each for start in range(0, len(stream), step) for each in reader.feed(stream[start : start + step])]
    assert found == messages


def test_a_length_beyond_the_bound_is_refused():
    with pytest.raises(FrameTooLarge):
        FrameReader().feed(b"\xff\xff\xff\xff")


def test_a_delivery_reaches_the_child_field_for_field():
    sent = delivery("http://a/", body={"a": 1}, payload=[1], has_payload=True, show_request=True)
    wire = msgspec.msgpack.encode(Orders(start=[sent], abort=[(b"x", 2)]))
    got = msgspec.msgpack.decode(wire, type=Instructions)
    assert Assignment.__struct_fields__ == Delivery.__struct_fields__
    assert got.abort == [(b"x", 2)]
    for name in Delivery.__struct_fields__:
        if name != "target":
            assert getattr(got.start[0], name) == getattr(sent, name)
    assert msgspec.msgpack.decode(got.start[0].target, type=type(sent.target)) == sent.target
