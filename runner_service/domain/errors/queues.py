"""Errors of lab queues, their jobs and their agents."""

from __future__ import annotations

from runner_service.domain.errors.kinds import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)


class LabAgentNotFound(NotFound):
    """There is no agent called {agent}."""

    reason = "LAB_AGENT_NOT_FOUND"


class JobExists(AlreadyExists):
    """There is another job with the id {job_id} already."""

    reason = "JOB_EXISTS"


class OutputTooLarge(ResourceExhausted):
    """The job {job_id} has {limit} bytes of output already, the most that is kept."""

    reason = "OUTPUT_TOO_LARGE"


class UploadTooLarge(ResourceExhausted):
    """The upload is larger than {limit} bytes, the most that is taken."""

    reason = "UPLOAD_TOO_LARGE"


class AgentTaken(PermissionDenied):
    """The agent {agent} belongs to another credential."""

    reason = "AGENT_TAKEN"


class SecretsInaccessible(FailedPrecondition):
    """{problem}"""

    reason = "SECRETS_INACCESSIBLE"


class NoAgentAllowed(FailedPrecondition):
    """There are no agents on the specified queue that are allowed to run this job"""

    reason = "NO_AGENT_ALLOWED"


class NotYourJob(PermissionDenied):
    """The job {job_id} belongs to somebody else."""

    reason = "NOT_YOUR_JOB"


class PushForbidden(PermissionDenied):
    """Not enough permissions to push {what}"""

    reason = "PUSH_FORBIDDEN"


class PushNeedsCredential(Unauthenticated):
    """Authentication required {what}"""

    reason = "PUSH_NEEDS_CREDENTIAL"
