"""KubeAgents: agents that report their status."""

from runner_service.dialects.kubeagents.servicer import KubeAgentServicer

__all__ = ["KubeAgentServicer"]
