"""Every error a caller can meet, as one tree.

::

    RunnerError
    ├── InvalidArgument          a request that can never succeed as it is
    ├── NotFound
    │   ├── JobNotFound
    │   ├── AttemptNotFound
    │   ├── RequestNotFound
    │   ├── SecretNotFound
    │   ├── ArtifactNotFound
    │   ├── LogMissing
    │   ├── RunnerNotFound
    │   │   └── RunnerDeleted
    │   ├── ReportedAgentNotFound
    │   ├── ReportSessionNotFound
    │   ├── AgentReportNotFound
    │   ├── ApiKeyNotFound
    │   ├── ClientNotFound
    │   ├── LabAgentNotFound
    │   ├── AgentNotFound
    │   ├── ImageNotFound
    │   ├── PageNotFound
    │   └── ToolNotFound
    ├── FailedPrecondition       the state of things forbids it now
    │   ├── JobFinished
    │   ├── JobNotRetryable
    │   ├── CredentialUntold
    │   ├── StaleAttempt
    │   ├── StaleWorker
    │   ├── StaleSync
    │   ├── LogSealed
    │   ├── InputNotTaken
    │   ├── ArtifactCorrupt
    │   ├── UploadLate
    │   ├── UploadCut
    │   ├── InputEnded
    │   ├── RunnerBusy
    │   ├── AgentNotRunning
    │   ├── SecretsInaccessible
    │   └── NoAgentAllowed
    ├── AlreadyExists
    │   └── JobExists
    ├── ResourceExhausted        try again later
    │   ├── QueueFull
    │   ├── StorageFull
    │   ├── RateLimited
    │   ├── InputFull
    │   ├── OutputTooLarge
    │   └── UploadTooLarge
    ├── Unauthenticated
    │   ├── PushNeedsCredential
    │   ├── CredentialsMissing
    │   ├── CredentialsScheme
    │   ├── CredentialsEmpty
    │   ├── CredentialsInvalid
    │   ├── CredentialExpired
    │   ├── LoginInvalid
    │   ├── ClientInvalid
    │   ├── TokenRefused         a signed token that is not good
    │   │   ├── TokenExpired
    │   │   ├── TokenNotYetValid
    │   │   ├── TokenSignature
    │   │   ├── TokenClaimMissing
    │   │   ├── TokenUndecodable
    │   │   └── TokenInvalid
    │   └── RefreshTokenRefused
    │       ├── RefreshTokenUnknown
    │       ├── RefreshTokenRevoked
    │       └── RefreshTokenExpired
    ├── PermissionDenied
    │   ├── WebhookForbidden
    │   ├── AgentTaken
    │   ├── NotYourJob
    │   └── PushForbidden
    ├── DeadlineExceeded         it took longer than it may
    │   └── AgentSilent
    └── Unavailable              this server cannot now; another or a later call can
        ├── WebhookUnreachable
        ├── RunnerUnavailable    a runner cannot
        ├── StoreUnavailable
        ├── BlobsUnavailable
        └── RegistryUnavailable

The class docstring is the message, with the keyword arguments in braces; the arguments travel as metadata. One
table in ``rpc.errors`` maps the second floor of the tree to gRPC codes. ``reason`` is a stable word for programs.
"""

from __future__ import annotations

from runner_service.domain.errors.agents import AgentNotFound as AgentNotFound
from runner_service.domain.errors.agents import AgentNotRunning as AgentNotRunning
from runner_service.domain.errors.agents import AgentReportNotFound as AgentReportNotFound
from runner_service.domain.errors.agents import AgentSilent as AgentSilent
from runner_service.domain.errors.agents import ImageNotFound as ImageNotFound
from runner_service.domain.errors.agents import PageNotFound as PageNotFound
from runner_service.domain.errors.agents import RegistryUnavailable as RegistryUnavailable
from runner_service.domain.errors.agents import ReportedAgentNotFound as ReportedAgentNotFound
from runner_service.domain.errors.agents import ReportSessionNotFound as ReportSessionNotFound
from runner_service.domain.errors.agents import ToolNotFound as ToolNotFound
from runner_service.domain.errors.artifacts import ArtifactCorrupt as ArtifactCorrupt
from runner_service.domain.errors.artifacts import ArtifactNotFound as ArtifactNotFound
from runner_service.domain.errors.artifacts import BlobsUnavailable as BlobsUnavailable
from runner_service.domain.errors.artifacts import LogMissing as LogMissing
from runner_service.domain.errors.artifacts import RangeOutside as RangeOutside
from runner_service.domain.errors.artifacts import UploadCut as UploadCut
from runner_service.domain.errors.artifacts import UploadLate as UploadLate
from runner_service.domain.errors.kinds import AlreadyExists as AlreadyExists
from runner_service.domain.errors.kinds import DeadlineExceeded as DeadlineExceeded
from runner_service.domain.errors.kinds import FailedPrecondition as FailedPrecondition
from runner_service.domain.errors.kinds import InvalidArgument as InvalidArgument
from runner_service.domain.errors.kinds import NotFound as NotFound
from runner_service.domain.errors.kinds import PermissionDenied as PermissionDenied
from runner_service.domain.errors.kinds import ResourceExhausted as ResourceExhausted
from runner_service.domain.errors.kinds import RunnerError as RunnerError
from runner_service.domain.errors.kinds import StoreUnavailable as StoreUnavailable
from runner_service.domain.errors.kinds import Unauthenticated as Unauthenticated
from runner_service.domain.errors.kinds import Unavailable as Unavailable
from runner_service.domain.errors.queues import AgentTaken as AgentTaken
from runner_service.domain.errors.queues import JobExists as JobExists
from runner_service.domain.errors.queues import LabAgentNotFound as LabAgentNotFound
from runner_service.domain.errors.queues import NoAgentAllowed as NoAgentAllowed
from runner_service.domain.errors.queues import NotYourJob as NotYourJob
from runner_service.domain.errors.queues import OutputTooLarge as OutputTooLarge
from runner_service.domain.errors.queues import PushForbidden as PushForbidden
from runner_service.domain.errors.queues import PushNeedsCredential as PushNeedsCredential
from runner_service.domain.errors.queues import SecretsInaccessible as SecretsInaccessible
from runner_service.domain.errors.queues import UploadTooLarge as UploadTooLarge


class JobNotFound(NotFound):
    """There is no job with the id {job_id}. `runner ps --all` lists the jobs that are kept."""

    reason = "JOB_NOT_FOUND"


class AttemptNotFound(NotFound):
    """There is no attempt with the id {attempt_id}."""

    reason = "ATTEMPT_NOT_FOUND"


class RequestNotFound(NotFound):
    """There is no job that was made with the request id {request_id}, or it is another caller's."""

    reason = "REQUEST_NOT_FOUND"


class SecretNotFound(NotFound):
    """There is no secret with the name {name}. `runner secrets list` lists them."""

    reason = "SECRET_NOT_FOUND"


class RunnerNotFound(NotFound):
    """There is no runner with the id {runner_id}."""

    reason = "RUNNER_NOT_FOUND"


class RunnerDeleted(RunnerNotFound):
    """The runner {runner_id} was deleted."""

    reason = "RUNNER_DELETED"


class ApiKeyNotFound(NotFound):
    """There is no API key with the id {key_id}. `runner keys list` shows those that the service made."""

    reason = "API_KEY_NOT_FOUND"


class ClientNotFound(NotFound):
    """There is no client with the id {client_id}."""

    reason = "CLIENT_NOT_FOUND"


class JobFinished(FailedPrecondition):
    """The job {job_id} has ended already ({state}) and cannot change any more."""

    reason = "JOB_FINISHED"


class JobNotRetryable(FailedPrecondition):
    """The job {job_id} cannot be retried: {problem}."""

    reason = "JOB_NOT_RETRYABLE"


class CredentialUntold(FailedPrecondition):
    """The credential of {of} cannot be told again: it was changed, or made under another secrets key. Make another."""

    reason = "CREDENTIAL_UNTOLD"


class StaleAttempt(FailedPrecondition):
    """The attempt {attempt_id} is no longer yours (fence {fence}): end its processes and forget it."""

    reason = "STALE_ATTEMPT"


class StaleWorker(FailedPrecondition):
    """A newer worker has taken over the identity of runner {runner_id}: this one must stop."""

    reason = "STALE_WORKER"


class StaleSync(FailedPrecondition):
    """A newer Sync of this worker has been taken already: this one came late and changed nothing."""

    reason = "STALE_SYNC"


class LogSealed(FailedPrecondition):
    """The log of attempt {attempt_id} is sealed and takes no more records."""

    reason = "LOG_SEALED"


class InputNotTaken(FailedPrecondition):
    """The job {job_id} takes no input: it was made without `stdin`."""

    reason = "INPUT_NOT_TAKEN"


class InputEnded(FailedPrecondition):
    """The input of job {job_id} has ended: nothing may follow."""

    reason = "INPUT_ENDED"


class RunnerBusy(FailedPrecondition):
    """The runner {runner_id} has {active_jobs} jobs. Wait until they have ended, cancel them, or force it."""

    reason = "RUNNER_BUSY"


class QueueFull(ResourceExhausted):
    """The queue holds {limit} jobs already, its bound. Try again when some have run."""

    reason = "QUEUE_FULL"


class InputFull(ResourceExhausted):
    """The input of job {job_id}, kept for another attempt, has reached its bound of {limit} bytes."""

    reason = "INPUT_FULL"


class StorageFull(ResourceExhausted):
    """The disk of the service is full: new jobs are refused until there is room, running ones go on."""

    reason = "STORAGE_FULL"


class RateLimited(ResourceExhausted):
    """Rate limit of {limit} requests per {window_seconds} seconds exceeded"""

    reason = "RATE_LIMITED"


class CredentialsMissing(Unauthenticated):
    """This call needs a credential: send `authorization: Bearer KEY`."""

    reason = "CREDENTIALS_MISSING"


class CredentialsScheme(Unauthenticated):
    """The authorization is not of the form `Bearer KEY`."""

    reason = "CREDENTIALS_SCHEME"


class CredentialsEmpty(Unauthenticated):
    """The authorization has the form `Bearer KEY`, but the key is empty."""

    reason = "CREDENTIALS_EMPTY"


class CredentialsInvalid(Unauthenticated):
    """The key is not one that this service knows."""

    reason = "CREDENTIALS_INVALID"


class CredentialExpired(Unauthenticated):
    """The credential of the runner {runner_id} has expired. Start its worker again with a join token: RUNNER_TOKEN."""

    reason = "CREDENTIAL_EXPIRED"


class LoginInvalid(Unauthenticated):
    """The user name or the password is wrong."""

    reason = "LOGIN_INVALID"


class ClientInvalid(Unauthenticated):
    """The client id or its secret is wrong."""

    reason = "CLIENT_INVALID"


class TokenRefused(Unauthenticated):
    """The token is not good: {problem}."""

    reason = "TOKEN_REFUSED"


class TokenExpired(TokenRefused):
    """The token has expired: get a new one."""

    reason = "TOKEN_EXPIRED"


class TokenNotYetValid(TokenRefused):
    """The token is not valid yet: the clock of the machine that made it is ahead of ours."""

    reason = "TOKEN_NOT_YET_VALID"


class TokenSignature(TokenRefused):
    """The token was not signed with the key of this service."""

    reason = "TOKEN_SIGNATURE"


class TokenClaimMissing(TokenRefused):
    """The token lacks the claim {claim}."""

    reason = "TOKEN_CLAIM_MISSING"


class TokenUndecodable(TokenRefused):
    """The token is no JSON Web Token."""

    reason = "TOKEN_UNDECODABLE"


class TokenInvalid(TokenRefused):
    """The token is not good: {problem}."""

    reason = "TOKEN_INVALID"


class RefreshTokenRefused(Unauthenticated):
    """The refresh token is not good."""

    reason = "REFRESH_TOKEN_REFUSED"


class RefreshTokenUnknown(RefreshTokenRefused):
    """The refresh token is not one that this service knows."""

    reason = "REFRESH_TOKEN_UNKNOWN"


class RefreshTokenRevoked(RefreshTokenRefused):
    """The refresh token was revoked."""

    reason = "REFRESH_TOKEN_REVOKED"


class RefreshTokenExpired(RefreshTokenRefused):
    """The refresh token has expired."""

    reason = "REFRESH_TOKEN_EXPIRED"


class WebhookForbidden(PermissionDenied):
    """The service does not call {host}: {problem}. The setting webhooks.allowed_hosts names where it may call."""

    reason = "WEBHOOK_FORBIDDEN"


class WebhookUnreachable(Unavailable):
    """The webhook on {host} cannot be reached: {problem}."""

    reason = "WEBHOOK_UNREACHABLE"


class RunnerUnavailable(Unavailable):
    """The runner {runner_id} is not available: {problem}."""

    reason = "RUNNER_UNAVAILABLE"
