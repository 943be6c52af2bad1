"""Input of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.v1 import input_pb2
from runner_service.domain import inputs
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.inputs import InputKind, InputRecord, InputStatus

MAX_SIGNAL = 31


def records_from(values: Iterable[input_pb2.InputRecord]) -> list[InputRecord]:
    """Raises `InvalidArgument`."""
    return [record for value in values for record in record_from(value)]


def record_from(value: input_pb2.InputRecord) -> Sequence[InputRecord]:
    """None for no bytes. Raises `InvalidArgument`."""
    match value.WhichOneof("input"):
        case "data":
            return inputs.data(value.data)
        case "end":
            return [inputs.END]
        case "resize":
            rows, columns = value.resize.rows or 24, value.resize.columns or 80
            if not (0 < rows < 65536 and 0 < columns < 65536):
                raise InvalidArgument(field="resize", problem="give numbers from 1 to 65535")
            return [inputs.resize(rows, columns)]
        case "signal":
            if not 0 < value.signal <= MAX_SIGNAL:
                raise InvalidArgument(field="signal", problem=f"give a number from 1 to {MAX_SIGNAL}")
            return [inputs.signal(value.signal)]
    raise InvalidArgument(field="input", problem="give data, end, resize or signal")


def record(value: InputRecord) -> input_pb2.InputRecord:
    match value.kind:
        case InputKind.DATA:
            return input_pb2.InputRecord(data=value.payload)
        case InputKind.RESIZE:
            rows, columns = value.terminal_size
            return input_pb2.InputRecord(resize=input_pb2.TerminalSize(rows=rows, columns=columns))
        case InputKind.SIGNAL:
            return input_pb2.InputRecord(signal=value.signal)
        case InputKind.END:
            return input_pb2.InputRecord(end=input_pb2.EndOfInput())
    return input_pb2.InputRecord()  # Spent: a place without effect.


def status(value: InputStatus) -> input_pb2.InputStatus:
    return input_pb2.InputStatus(
        next_offset=value.next_offset,
        written_offset=value.written_offset,
        limit_offset=value.limit_offset,
        ended=value.ended,
        writer_offset=value.writer_offset,
    )
