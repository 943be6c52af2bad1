"""The supervisor: a small process beside the worker that owns the job processes, their pipes and their spools.

It imports the standard library and `runner_service.domain.logs` only, and this package must stay empty, because the
supervisor's memory is what its imports cost. From the worker's side use `client`; from anywhere, `paths`.
"""
