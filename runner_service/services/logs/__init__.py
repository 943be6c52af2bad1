"""Use cases of logs: append, seal, follow, page, archive."""

from runner_service.services.logs.archive import Archiver, ArchiveReader
from runner_service.services.logs.follow import LogBatch, LogEnd, LogReader
from runner_service.services.logs.ingest import LogIngest
from runner_service.services.logs.output import Output, read_output
from runner_service.services.logs.tails import LogTails

__all__ = [
    "ArchiveReader",
    "Archiver",
    "LogBatch",
    "LogEnd",
    "LogIngest",
    "LogReader",
    "LogTails",
    "Output",
    "read_output",
]
