"""SCT agent: commands over HTTP instead of SSH."""

from runner_service.dialects.sct.servicer import SctCommandServicer

__all__ = ["SctCommandServicer"]
