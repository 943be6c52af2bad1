"""Runners."""

from __future__ import annotations

from runner.v1 import runner_pb2
from runner_service.domain.runners import Runner, RunnerState
from runner_service.rpc.convert import times

_STATES = {state: runner_pb2.Runner.State.Value(f"STATE_{state.name}") for state in RunnerState}


def runner(value: Runner, *, online: bool) -> runner_pb2.Runner:
    return runner_pb2.Runner(
        runner_id=value.runner_id,
        name=value.name,
        state=_STATES[value.state],
        labels=value.labels,
        slots=value.slots,
        online=online,
        local=value.local,
        version=value.version,
        register_time=times.timestamp(value.registered_at),
        last_seen_time=times.timestamp(value.last_seen_at) if value.last_seen_at else None,
    )
