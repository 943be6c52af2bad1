"""Where the bytes of a raw stream come from."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from gateway.framing import _raw_reader


def test_a_list_on_the_way_is_read_as_one_run() -> None:
    read = _raw_reader(status_pb2.Status.DESCRIPTOR, "details.value")
    assert read(status_pb2.Status(details=[Any(value=b"ab"), Any(), Any(value=b"\xff")])) == b"ab\xff"
    assert read(status_pb2.Status()) == b""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="nothing named"),
        pytest.param("nowhere", id="no such field"),
        pytest.param("message", id="text is no bytes"),
        pytest.param("details", id="messages are no bytes"),
        pytest.param("message.data", id="text has no fields"),
        pytest.param("details.type_url", id="ends in text"),
    ],
)
def test_a_path_to_anything_but_bytes_fails_at_start_up(path: str) -> None:
    with pytest.raises(ValueError, match="bytes field"):
        _raw_reader(status_pb2.Status.DESCRIPTOR, path)


def test_the_error_names_the_message_and_the_path() -> None:
    with pytest.raises(ValueError, match=r"google\.rpc\.DebugInfo must name a bytes field, not 'detail'"):
        _raw_reader(error_details_pb2.DebugInfo.DESCRIPTOR, "detail")
