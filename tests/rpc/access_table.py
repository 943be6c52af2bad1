"""What each native RPC needs, written down once more beside the protos: a change of an option must be wanted."""

from __future__ import annotations

from runner_service.domain.principals import Role

_OPEN_HERE = """
AgentReportService
  viewer: GetReportedAgent ListReportedAgents ListReportSessions ListAgentReports WatchAgentReports
  operator: CreateAgentReport
AgentService
  viewer: GetAgent ListAgents ListAgentLogs WatchAgents WatchAgentEvents
  operator: CreateAgent DeleteAgent ChatAgent
ArtifactService
  viewer: GetArtifact ListArtifacts DownloadArtifact
  operator: UploadArtifact GetUpload DeleteArtifact
AuthService
  none: WhoAmI
  admin: CreateApiKey ListApiKeys RevokeApiKey ListAuditEntries
CommandService
  viewer: GetCommand ListCommands
  operator: RunCommand ExecCommand CancelCommand
ImageService
  viewer: ListImages GetImage SearchImages
  operator: PushImage PullImage DeleteImage
JobService
  viewer: GetJob ListJobs WaitJob WatchJobs ListAttempts
  operator: CreateJob CancelJob RetryJob AppendInput
LogStreamService
  viewer: StreamLogs ListLogEntries
QueueService
  viewer: GetQueueJob ListQueues GetWaitTimes
  operator: PushJob PopJob RenewLease ReportJob
RunnerService
  viewer: GetRunner ListRunners GetRunnerConfig GetRunnerStatus CheckRunnerHealth QueryRunnerMetrics WatchRunners
  viewer: ListRunnerLogs StreamRunnerLogs
  admin: UpdateRunner DeleteRunner StartRunner StopRunner DrainRunner RestartRunner UpdateRunnerConfig
  admin: BatchOperateRunners
  worker: RegisterRunner RejoinRunner
SecretService
  operator: ListSecrets
  admin: SetSecret DeleteSecret
"""
_CLOSED = """
DispatchService
  worker: Sync ReportAttempts AppendLogs AppendLogsOnce StreamInputs FetchInput UploadOutput SealLogs
"""


def _read(text: str, access: str) -> dict[str, tuple[str, Role]]:
    found, service = {}, ""
    for line in text.strip().splitlines():
        role, colon, methods = line.strip().partition(":")
        if not colon:
            service = role
        for method in methods.split():
            found[f"/runner.v1.{service}/{method}"] = (access, Role[role.upper()])
    return found


NATIVE: dict[str, tuple[str, Role]] = _read(_OPEN_HERE, "optional") | _read(_CLOSED, "required")
