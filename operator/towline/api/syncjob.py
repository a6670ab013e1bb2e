"""SyncJob: one run of an Integration. Towline makes them on schedule; create one by hand to sync now."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from towline.api.base import Model, Rule, Time, listmap, listset
from towline.api.conditions import Condition

Trigger = Literal["Schedule", "Manual", "Webhook", "SpecChange", "CredentialsRotated"]
Mode = Literal["Incremental", "Full", "Check"]


class IntegrationRef(Model):
    name: str = Field(min_length=1, max_length=40)


class SyncJobSpec(Model):
    rules: ClassVar = (
        Rule(
            "self == oldSelf",
            "the spec of a SyncJob cannot be changed: create another SyncJob",
            reason="FieldValueForbidden",
        ),
        Rule(
            "self.trigger != 'Schedule' || has(self.scheduledTime)",
            "trigger Schedule needs scheduledTime (to sync by hand, leave trigger out: it is Manual)",
            field_path=".scheduledTime",
            reason="FieldValueRequired",
        ),
    )

    integration_ref: IntegrationRef
    trigger: Trigger = "Manual"
    scheduled_time: Time | None = None
    mode: Mode = Field(default="Incremental", description="Check only tries the credentials and reads no data.")
    streams: list[Annotated[str, Field(min_length=1, max_length=63)]] | None = listset(min_length=1, max_length=50)


class JobRef(Model):
    name: str = Field(max_length=253)


class Totals(Model):
    read: int | None = None
    upserted: int | None = Field(default=None, description="Rows that were new or changed.")
    deleted: int | None = None
    rejected: int | None = None


class Progress(Model):
    stream: str | None = Field(default=None, max_length=63)
    read: int | None = None
    expected: int | None = None
    updated_time: Time | None = None


class SyncStreamStatus(Model):
    name: str = Field(max_length=63)
    read: int | None = None
    upserted: int | None = None
    deleted: int | None = None
    rejected: int | None = None
    checkpoint: str | None = Field(default=None, max_length=256)
    full: bool | None = Field(default=None, description="The stream was read in full.")
    skipped: str | None = Field(default=None, max_length=256, description="Why the stream was left out.")


class SyncJobStatus(Model):
    observed_generation: int | None = None
    integration_generation: int | None = Field(
        default=None, description="Generation of the Integration that the newest attempt ran with."
    )
    connector_generation: int | None = Field(
        default=None, description="Generation of the Connector that the newest attempt ran with."
    )
    credentials_version: str | None = Field(
        default=None, max_length=128, description="uid/resourceVersion of the Secret that the newest attempt ran with."
    )
    job_ref: JobRef | None = None
    image: str | None = Field(default=None, max_length=512)
    start_time: Time | None = None
    completion_time: Time | None = None
    next_attempt_time: Time | None = None
    attempts: int | None = Field(default=None, description="Attempts made, disruptions included.")
    failures: int | None = Field(default=None, description="Attempts that count against retry.maxAttempts.")
    exit_code: int | None = None
    totals: Totals | None = None
    progress: Progress | None = None
    streams: list[SyncStreamStatus] | None = listmap("name", max_length=50)
    conditions: list[Condition] | None = listmap("type", max_length=16)


class SyncJob(Model):
    """SyncJob is one run of an Integration. Towline makes them on schedule; create one by hand to sync now."""

    rules: ClassVar = (
        Rule(
            "size(self.metadata.name) <= 58",
            "the name must be at most 58 characters, because the names of its Jobs are made from it",
            field_path=".metadata.name",
        ),
    )

    api_version: Literal["towline.dev/v1alpha1"] = "towline.dev/v1alpha1"
    kind: Literal["SyncJob"] = "SyncJob"
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: SyncJobSpec
    status: SyncJobStatus | None = None
