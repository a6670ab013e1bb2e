"""The manifest language, asynchronous export jobs: create, poll, fetch the parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from towline.api.base import Duration, Model
from towline.api.http import Expression, Path, Request


class PollEvery(Model):
    initial: Duration | None = Field(default=None, description="The first pause. 5s if left out.")
    cap: Duration | None = Field(default=None, description="The longest pause. 1m if left out.")


class Poll(Model):
    path: Path = Field(description="Path that tells how far the job is.")
    every: PollEvery | None = Field(default=None, description="Pauses between questions.")
    timeout: Duration | None = Field(default=None, description="How long the job may take. 6h if left out.")


class ExportStatus(Model):
    from_: Expression = Field(alias="from", description="Where the answer holds the status.")
    running: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=16, description="Statuses of a job that goes on."
    )
    done: list[Annotated[str, Field(max_length=64)]] = Field(
        min_length=1, max_length=16, description="Statuses of a job that is finished."
    )
    failed: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=16, description="Statuses of a job that failed; it is made anew."
    )


class PathOnly(Model):
    path: Path = Field(description="Path below baseURL; ${job.id} and ${part} stand for the job and its part.")


class Cancel(Model):
    method: Literal["POST", "DELETE"] | None = Field(default=None, description="POST if left out.")
    path: Path = Field(description="Path that ends the job.")


class Export(Model):
    """An asynchronous export job. Its id is committed before the first poll, so a crash resumes it."""

    create: Request = Field(description="The call that makes the job.")
    job_id: Expression = Field(alias="jobID", description="Where its answer holds the job's id.")
    poll: Poll = Field(description="How to ask how far it is.")
    status: ExportStatus = Field(description="How to read the answer.")
    parts: Expression | None = Field(default=None, description="Ids of the parts that can be fetched now.")
    failed_parts: Expression | None = Field(
        default=None, description="Ids of parts that the vendor could not make; the job is then made anew."
    )
    stream_parts: bool | None = Field(default=None, description="Fetch parts while the job still runs.")
    fetch: PathOnly = Field(description="Where a part is fetched.")
    cancel: Cancel | None = Field(default=None, description="How a job that is of no use any more is ended.")
