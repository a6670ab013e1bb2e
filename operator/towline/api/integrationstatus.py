"""What Towline says of an Integration in its status."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from towline.api.base import Model, Name253, Time, listmap
from towline.api.conditions import Condition


class ActiveSync(Model):
    name: Name253 = Field(description="Name of the SyncJob.")


class LastSync(Model):
    name: str | None = Field(default=None, max_length=253, description="Name of the SyncJob.")
    reason: str | None = Field(
        default=None, max_length=64, description="How it ended: the reason of its condition Succeeded."
    )


class CredentialsStatus(Model):
    observed_version: str | None = Field(
        default=None, max_length=128, description="uid/resourceVersion of the Secret that was last checked."
    )
    checked_time: Time | None = Field(
        default=None, description="When the vendor was last asked whether it accepts them."
    )
    expires_at: Time | None = Field(
        default=None,
        description="When they expire: as the Secret's annotation towline.dev/expires-at, a client certificate or a"
        " token in the Secret says; the first of these.",
    )


class HealthStatus(Model):
    """What probes say. It changes when the state does, not with every probe; metrics have the rest."""

    state: Literal["Healthy", "Degraded", "Down", "Unknown"] | None = Field(
        default=None, description="Down after three failed probes in a row, Healthy after two good ones."
    )
    since: Time | None = Field(default=None, description="When this state was reached.")
    latency_milliseconds: int | None = Field(default=None, description="Time of an answer when it was reached.")
    message: str | None = Field(default=None, max_length=256, description="The failure that led to it.")
    certificate_expires_at: Time | None = Field(
        default=None, description="When the first of the certificates expires that the system shows."
    )


class CheckStreak(Model):
    outcome: str = Field(max_length=64, description="What came of each of them: Reachable, or why not.")
    message: str | None = Field(default=None, max_length=256, description="What the first of them was told.")
    since: Time = Field(description="The first.")
    until: Time = Field(description="The last.")
    count: int = Field(ge=1, description="How many.")
    interrupted: bool | None = Field(
        default=None, description="The operator was restarted meanwhile: there were more than are counted."
    )


class ChecksStatus(Model):
    """It changes when an outcome does, not with every check."""

    outcome: str | None = Field(default=None, max_length=64, description="What came of the newest check.")
    since: Time | None = Field(default=None, description="The first check of this outcome in a row.")
    message: str | None = Field(default=None, max_length=256, description="What that first check was told.")
    recorded: bool | None = Field(default=None, description="A run has recorded that first check.")
    unrecorded: list[CheckStreak] | None = Field(
        default=None,
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Checks in a row with one outcome that have ended and that no run has recorded yet, oldest first.",
    )
    dropped: int | None = Field(
        default=None,
        description="Of these, how many were let go because 20 others waited; the operator's log has them.",
    )


class SyncStreak(Model):
    outcome: str = Field(max_length=64, description="How each of them ended, as the reason of Succeeded.")
    message: str | None = Field(default=None, max_length=256, description="What the first of them said.")
    trigger: str = Field(max_length=64, description="What started each of them.")
    actor: str | None = Field(default=None, max_length=256, description="Who or what asked for each of them.")
    mode: str | None = Field(default=None, max_length=64, description="Check, where they only tried the credentials.")
    since: Time = Field(description="Start of the first.")
    until: Time = Field(description="End of the last.")
    count: int = Field(ge=1, description="How many.")
    first: str = Field(max_length=253, description="Name of the first SyncJob.")
    first_attempt: str = Field(max_length=128, description="uid/attempt of the first SyncJob.")
    last_uid: str = Field(max_length=64, description="uid of the last SyncJob.")
    alone: bool | None = Field(
        default=None, description="It may stand in the record already, so it is not counted together with others."
    )


class SyncEnds(Model):
    """It changes when a SyncJob goes whose end no sync has recorded, and when one has recorded them."""

    recorded_until: Time | None = Field(
        default=None, description="All ends up to then stand in the record of activity."
    )
    unrecorded: list[SyncStreak] | None = Field(
        default=None,
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Syncs in a row with one outcome whose SyncJobs are gone and whose ends nothing has recorded yet.",
    )
    dropped: int | None = Field(
        default=None,
        description="Of these, how many were let go because 20 others waited; the operator's log has them.",
    )


class HourCounts(Model):
    hour: Time = Field(description="Start of the hour, UTC.")
    succeeded: int | None = Field(default=None, description="Syncs that succeeded.")
    failed: int | None = Field(default=None, description="Syncs that failed.")
    read: int | None = Field(default=None, description="Records read.")
    seconds: int | None = Field(default=None, description="Time that the syncs took together.")


class Recent(Model):
    """The last 24 hours, as of the last finished sync."""

    success_percent: int | None = Field(default=None, description="Syncs that succeeded, of those that ended.")
    syncs: int | None = Field(default=None, description="Syncs that ended.")
    records_today: int | None = Field(default=None, description="Records read since midnight UTC.")
    hours: list[HourCounts] | None = listmap(
        "hour", max_length=25, description="Counts by hour, from which the others are made."
    )


class StreamStatus(Model):
    """A mirror: the checkpoint of record lives with the rows."""

    name: str = Field(max_length=63, description="Name of the stream.")
    last_successful_time: Time | None = Field(default=None, description="End of the last run that read it to the end.")
    last_full_time: Time | None = Field(default=None, description="End of the last run that read it in full.")
    checkpoint: str | None = Field(default=None, max_length=256, description="Up to where it was read.")


class IntegrationStatus(Model):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status speaks of; -1 before the first look."
    )
    last_handled_requested_at: str | None = Field(
        default=None,
        max_length=64,
        description="Value of the annotation towline.dev/requested-at that was last acted on.",
    )
    effective_schedule: str | None = Field(
        default=None, max_length=256, description="The schedule in use, with its time zone and its fixed offset."
    )
    next_schedule_time: Time | None = Field(default=None, description="When the next scheduled run starts.")
    last_schedule_time: Time | None = Field(default=None, description="The last time at which a run was due.")
    last_successful_time: Time | None = Field(default=None, description="End of the last sync that succeeded.")
    last_failure_time: Time | None = Field(default=None, description="End of the last sync that failed.")
    consecutive_failures: int | None = Field(
        default=None, description="Syncs that failed since the last that succeeded."
    )
    missed_schedules: int | None = Field(
        default=None, description="Scheduled runs that never started: missed by too much, or due during another run."
    )
    active: list[ActiveSync] | None = listmap("name", max_length=10, description="SyncJobs that are not finished.")
    last_sync: LastSync | None = Field(default=None, description="The SyncJob that finished last.")
    credentials: CredentialsStatus | None = Field(default=None, description="What is known of the credentials.")
    health: HealthStatus | None = Field(default=None, description="How the system answers Towline's probes.")
    checks: ChecksStatus | None = Field(
        default=None, description="Checks of the credentials by probes that the next run is to record."
    )
    sync_ends: SyncEnds | None = Field(
        default=None, description="Ends of syncs that the next run is to record and whose SyncJobs are gone."
    )
    recent: Recent | None = Field(default=None, description="How the syncs of the last 24 hours went.")
    streams: list[StreamStatus] | None = listmap(
        "name",
        max_length=50,
        description="How far each stream was read; a mirror, the checkpoint of record lives with the rows.",
    )
    conditions: list[Condition] | None = listmap(
        "type", max_length=16, description="Ready sums up; Reconciling and Stalled are there only while True."
    )
