"""Why a job that is followed does not start: said on stderr, once for each reason, with what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runner_client.cli.report import complain, write_stderr
from runner_client.errors import ClientError

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Job
    from runner_client.cli.session import Session
    from runner_client.client import AsyncClient

MOST_SECONDS = 60.0
"""A job that has started is looked at this seldom: it may be queued again."""


def advice_for(job: Job) -> str:
    """What can be done about it; empty for what passes by itself."""
    reasons = type(job)
    match job.waiting_reason:
        case reasons.WAITING_REASON_NO_RUNNER:
            return "start one with `runner join`, or the server without --no-local-runner"
        case reasons.WAITING_REASON_LABELS if job.spec.HasField("container"):
            return "start a Docker engine on a runner with the labels, or leave the image out"
        case reasons.WAITING_REASON_LABELS:
            return "`runner runners` shows their labels; start one with `runner join --label NAME=VALUE`"
        case reasons.WAITING_REASON_RUNNERS_AWAY:
            return "start their workers again; `runner runners` shows since when they are away"
        case reasons.WAITING_REASON_RUNNERS_CLOSED:
            return "`runner runners start RUNNER` lets one take work again"
        case reasons.WAITING_REASON_NO_ROOM:
            return f"it starts when there is room; `runner ps` shows what runs, `runner cancel {job.job_id}` ends it"
        case reasons.WAITING_REASON_ATTACHMENTS:
            return f"upload them to /v1/job/{job.job_id}/attachments, as testflinger-cli does behind a submit"
    return ""


class WaitingNotice:
    """Looks at a job from time to time and says why it waits."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        after: float,
        say: Callable[[Job], None],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``after``: seconds before the first look, and between looks at a job that is queued."""
        self._client = client
        self._after = after
        self._say = say
        self._sleep = sleep

    async def watch(self, job_id: str) -> None:
        """Returns when the job has ended. A server that does not answer is the affair of whoever follows the job."""
        said, pause = "", self._after
        while True:
            await self._sleep(pause)
            try:
                job = await self._client.get_job(job_id)
            except ClientError:
                return
            if job.HasField("finish_time"):
                return
            if not job.waiting:
                said, pause = "", min(2 * pause, max(self._after, MOST_SECONDS))
                continue
            pause = self._after
            # Its place in the queue changes all the time. A server of old gives no reason but the sentence.
            reason = str(job.waiting_reason) if job.waiting_reason else job.waiting
            if reason != said:
                said = reason
                self._say(job)


@asynccontextmanager
async def telling_why_it_waits(
    session: Session, client: AsyncClient, job_id: str, *, raw: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Says on stderr why a job waits, while what is inside goes on. ``raw``: our terminal is, which does not return by
    itself, and passes Ctrl-C on."""

    def say(job: Job) -> None:
        line_end = "\r\n" if raw() else "\n"
        if session.json:
            from google.protobuf.json_format import MessageToDict

            told = {key: value for key, value in MessageToDict(job).items() if key.startswith(("jobId", "waiting"))}
            write_stderr(json.dumps(told, ensure_ascii=False) + line_end)
        else:
            advice = [advice_for(job), "Ctrl-P Ctrl-Q leaves it" if raw() else ""]
            complain(f"job {job.job_id} waits: {job.waiting}", "; ".join(filter(None, advice)), line_end=line_end)

    if session.notice_after <= 0:
        yield
        return
    watching = asyncio.create_task(WaitingNotice(client, after=session.notice_after, say=say).watch(job_id))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
