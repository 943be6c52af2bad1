"""Errors of agents, managed and observed, and of images."""

from __future__ import annotations

from runner_service.domain.errors.kinds import DeadlineExceeded, FailedPrecondition, NotFound, Unavailable


class AgentNotFound(NotFound):
    """There is no agent with the id {agent_id}. `runner agents list` lists those that there are."""

    reason = "AGENT_NOT_FOUND"


class ImageNotFound(NotFound):
    """There is no image {reference}. `runner images list` shows those here, `runner images pull` gets others."""

    reason = "IMAGE_NOT_FOUND"


class ToolNotFound(NotFound):
    """The agent has no tool {tool}: its image declares {known}."""

    reason = "TOOL_NOT_FOUND"


class PageNotFound(NotFound):
    """There is no page {name}."""

    reason = "PAGE_NOT_FOUND"


class AgentNotRunning(FailedPrecondition):
    """The agent {agent_id} is not running ({problem}) and answers nothing."""

    reason = "AGENT_NOT_RUNNING"


class AgentSilent(DeadlineExceeded):
    """The agent has not answered for {seconds} seconds. It may still be at work; the answer is no longer waited for."""

    reason = "AGENT_SILENT"


class RegistryUnavailable(Unavailable):
    """The registry {registry} cannot be used now: {problem}."""

    reason = "REGISTRY_UNAVAILABLE"


class ReportedAgentNotFound(NotFound):
    """No agent with the id {agent_id} has reported here. `runner agents reported` shows those that have."""

    reason = "REPORTED_AGENT_NOT_FOUND"


class ReportSessionNotFound(NotFound):
    """The agent {agent_id} has no session on the topic {topic}."""

    reason = "REPORT_SESSION_NOT_FOUND"


class AgentReportNotFound(NotFound):
    """No report of the agent {agent_id} is kept."""

    reason = "AGENT_REPORT_NOT_FOUND"
