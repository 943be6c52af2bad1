"""Log records, seals and the text form of bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from runner.v1 import log_pb2
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.logs import MAX_RECORD_BYTES, LogRecord, LogSeal, LogStream
from runner_service.rpc.convert import times

_STREAMS = {stream: log_pb2.LogRecord.Stream.Value(f"STREAM_{stream.name}") for stream in LogStream}
_STREAMS_BACK = {number: stream for stream, number in _STREAMS.items()}


class TextDecoder:
    """Decodes the bytes of one read as UTF-8, stream by stream; a character that is cut by the end of a record comes
    whole in the record where it ends."""

    def __init__(self) -> None:
        self._decoders: dict[LogStream, codecs.IncrementalDecoder] = {}

    def decode(self, record: LogRecord) -> str:
        decoder = self._decoders.get(record.stream)
        if decoder is None:
            decoder = self._decoders[record.stream] = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(record.data)


def records(values: Iterable[LogRecord], text: TextDecoder | None = None) -> list[log_pb2.LogRecord]:
    """With a decoder the bytes come as text."""
    if text is None:
        return [
            log_pb2.LogRecord(
                sequence=value.sequence,
                time=times.timestamp_ns(value.time_ns),
                stream=_STREAMS[value.stream],
                data=value.data,
                gap_bytes=value.gap_bytes,
            )
            for value in values
        ]
    return [
        log_pb2.LogRecord(
            sequence=value.sequence,
            time=times.timestamp_ns(value.time_ns),
            stream=_STREAMS[value.stream],
            text=text.decode(value),
            gap_bytes=value.gap_bytes,
        )
        for value in values
    ]


def records_from(values: Sequence[log_pb2.LogRecord]) -> list[LogRecord]:
    """Raises `InvalidArgument` for a record that no journal holds, or a hole between them."""
    found = []
    expected = values[0].sequence if values else 0
    for value in values:
        stream = _STREAMS_BACK.get(value.stream)
        if stream is None or len(value.data) > MAX_RECORD_BYTES or value.sequence != expected or expected < 0:
            raise InvalidArgument(
                field="records", problem="give known streams, at most 64 KiB each and sequences without holes"
            )
        expected += 1
        time_ns = value.time.seconds * 1_000_000_000 + value.time.nanos
        found.append(LogRecord(value.sequence, max(time_ns, 0), stream, value.data, value.gap_bytes))
    return found


def seal(value: log_pb2.LogSeal) -> LogSeal:
    return LogSeal(value.records, value.stdout_bytes, value.stderr_bytes, value.sha256)


def streams(values: Sequence[log_pb2.LogRecord.Stream.ValueType]) -> frozenset[LogStream]:
    """The streams of a filter; one that says UNSPECIFIED means any."""
    if 0 in values:
        return frozenset()
    return frozenset(_STREAMS_BACK[value] for value in values if value in _STREAMS_BACK)
