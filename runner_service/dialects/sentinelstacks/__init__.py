"""SentinelStacks: agents made from images, which people chat with."""

from runner_service.dialects.sentinelstacks.agents import SentinelAgentServicer
from runner_service.dialects.sentinelstacks.images import SentinelImageServicer
from runner_service.dialects.sentinelstacks.login import SentinelAuthServicer, SentinelHealthServicer

__all__ = ["SentinelAgentServicer", "SentinelAuthServicer", "SentinelHealthServicer", "SentinelImageServicer"]
