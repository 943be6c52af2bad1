"""RustCI: the API of its runners."""

from runner_service.dialects.rustci.servicer import RustCiRunnerServicer

__all__ = ["RustCiRunnerServicer"]
