"""SyncJob: one run of an Integration. Towline makes them on schedule; create one by hand to sync now."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from towline.api.base import Model, Rule, Time, listmap, listset
from towline.api.conditions import Condition

Trigger = Literal["Schedule", "Manual", "Webhook", "SpecChange", "CredentialsRotated"]
Mode = Literal["Incremental", "Full", "Check"]


class IntegrationRef(Model):
    name: str = Field(min_length=1, max_length=40, description="Name of the Integration, in this namespace.")


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

    integration_ref: IntegrationRef = Field(description="The Integration to sync.")
    trigger: Trigger = Field(default="Manual", description="What started it.")
    scheduled_time: Time | None = Field(
        default=None, description="The time at which it was due, with trigger Schedule."
    )
    mode: Mode = Field(
        default="Incremental",
        description="Check only tries the credentials and stores nothing; named streams are asked for one page.",
    )
    streams: list[Annotated[str, Field(min_length=1, max_length=63)]] | None = listset(
        min_length=1, max_length=50, description="Streams to sync. Left out, all of the Integration's."
    )


class JobRef(Model):
    name: str = Field(max_length=253, description="Name of the Job.")


class Totals(Model):
    read: int | None = Field(default=None, description="Records read.")
    upserted: int | None = Field(default=None, description="Rows that were new or changed.")
    deleted: int | None = Field(default=None, description="Rows newly marked as deleted.")
    rejected: int | None = Field(default=None, description="Records that did not fit and were put aside.")


class StreamProgress(Model):
    name: str = Field(max_length=63, description="Name of the stream.")
    read: int | None = Field(default=None, description="Records read.")
    upserted: int | None = Field(default=None, description="Rows that were new or changed.")
    deleted: int | None = Field(default=None, description="Rows newly marked as deleted.")
    rejected: int | None = Field(default=None, description="Records that did not fit and were put aside.")
    expected: int | None = Field(default=None, description="Records that the source announced.")


class Progress(Model):
    """What the pod tells every few seconds while it runs; gone once the attempt has ended."""

    stream: str | None = Field(default=None, max_length=63, description="The stream that is being read.")
    read: int | None = Field(default=None, description="Records read of it.")
    expected: int | None = Field(default=None, description="Records that the source announced.")
    records_per_second: int | None = Field(default=None, description="How fast records came lately.")
    updated_time: Time | None = Field(default=None, description="When the pod last told.")
    streams: list[StreamProgress] | None = listmap(
        "name", max_length=50, description="The streams of this attempt so far, the present one included."
    )


class SyncStreamStatus(Model):
    name: str = Field(max_length=63, description="Name of the stream.")
    read: int | None = Field(default=None, description="Records read.")
    upserted: int | None = Field(default=None, description="Rows that were new or changed.")
    deleted: int | None = Field(default=None, description="Rows newly marked as deleted.")
    rejected: int | None = Field(default=None, description="Records that did not fit and were put aside.")
    checkpoint: str | None = Field(default=None, max_length=256, description="Up to where it was read.")
    full: bool | None = Field(default=None, description="The stream was read in full.")
    skipped: str | None = Field(default=None, max_length=256, description="Why the stream was left out.")


class SyncJobStatus(Model):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status speaks of; -1 before the first look."
    )
    integration_generation: int | None = Field(
        default=None, description="Generation of the Integration that the newest attempt ran with."
    )
    connector_generation: int | None = Field(
        default=None, description="Generation of the Connector that the newest attempt ran with."
    )
    credentials_version: str | None = Field(
        default=None, max_length=128, description="uid/resourceVersion of the Secret that the newest attempt ran with."
    )
    job_ref: JobRef | None = Field(default=None, description="The Job of the newest attempt.")
    image: str | None = Field(default=None, max_length=512, description="The image that ran.")
    actor: str | None = Field(
        default=None, max_length=256, description="Who or what asked for it, as far as that is known."
    )
    start_time: Time | None = Field(default=None, description="Start of the first attempt.")
    completion_time: Time | None = Field(default=None, description="End of the last attempt, succeeded or not.")
    next_attempt_time: Time | None = Field(default=None, description="When Towline tries again.")
    attempts: int | None = Field(default=None, description="Attempts made, disruptions included.")
    failures: int | None = Field(default=None, description="Attempts that count against retry.maxAttempts.")
    exit_code: int | None = Field(default=None, description="Exit code of the last attempt's container.")
    checks_recorded_until: Time | None = Field(
        default=None, description="Up to when checks of the credentials stand in the record of activity by this sync."
    )
    activity_recorded: Literal["Nothing", "Unknown", "Before"] | None = Field(
        default=None,
        description="What this sync has written to the destination's record of activity: Nothing, or at least what"
        " happened Before it; Unknown where its pod could not tell.",
    )
    ends_recorded_until: Time | None = Field(
        default=None, description="Up to when ends of earlier syncs stand in the record of activity by this sync."
    )
    queue_position: int | None = Field(
        default=None, description="Place in the queue for a slot, 1 is next; brought up to date now and then."
    )
    totals: Totals | None = Field(default=None, description="All streams together.")
    progress: Progress | None = Field(default=None, description="How far the running attempt is.")
    streams: list[SyncStreamStatus] | None = listmap("name", max_length=50, description="What became of each stream.")
    conditions: list[Condition] | None = listmap(
        "type", max_length=16, description="Succeeded sums up: Unknown until it is finished."
    )


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
