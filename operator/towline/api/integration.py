"""Integration: one external system, connected. The user's object."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from towline.api.base import (
    DURATION_PATTERN,
    Duration,
    FreeObject,
    Model,
    Name253,
    ObjectName,
    Rule,
    StreamName,
    Time,
    cel_seconds,
    listmap,
    listset,
)
from towline.api.conditions import Condition
from towline.api.connector import Resources


class SecretRef(Model):
    """A Secret in the Integration's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class ConnectorRef(Model):
    rules: ClassVar = (
        Rule(
            "self == oldSelf",
            "connectorRef cannot be changed: checkpoints and rows belong to one connector. Create a new Integration",
            reason="FieldValueForbidden",
        ),
    )
    name: ObjectName = Field(description="Name of the Connector; kubectl get connectors lists them.")


class Credentials(Model):
    rules: ClassVar = (
        Rule(
            "(self.source == 'Secret') == has(self.secretRef)",
            "name a Secret in secretRef when source is Secret, and only then",
        ),
        Rule("!has(self.keys) || has(self.secretRef)", "keys needs secretRef", field_path=".keys"),
    )

    source: Literal["Secret", "InjectedIdentity", "None"] = Field(
        default="Secret", description="Where the credentials come from."
    )
    secret_ref: SecretRef | None = Field(default=None, description="A Secret in this namespace.")
    keys: dict[str, Name253] | None = Field(
        default=None,
        max_length=32,
        description="For each credential of the connector the key in the Secret, where the two differ.",
    )


class CABundleRef(Model):
    kind: Literal["ConfigMap", "Secret"] = Field(description="Where the certificates are kept.")
    name: ObjectName = Field(description="Name of the ConfigMap or Secret, in this namespace.")
    key: Name253 = Field(description="Key in it that holds the certificates.")


class Schedule(Model):
    rules: ClassVar = (
        Rule("has(self.cron) != has(self.interval)", "set exactly one of cron and interval"),
        Rule(
            "!has(self.timeZone) || has(self.cron)",
            "timeZone only has a meaning with cron",
            field_path=".timeZone",
        ),
        Rule(
            "!has(self.cron) || self.cron.contains('TZ=') || self.cron.matches("
            "'^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|([A-Za-z0-9*,/?-]+ +){4}[A-Za-z0-9*,/?-]+)$')",
            message_expression="'\"' + self.cron + '\" is not a cron expression: give five fields"
            " (minute hour day month weekday), or one of @hourly @daily @weekly @monthly @yearly'",
            field_path=".cron",
        ),
        Rule(
            "!has(self.cron) || !self.cron.contains('TZ=')",
            "put the time zone in schedule.timeZone, not into the cron expression",
            field_path=".cron",
        ),
        Rule(
            f"!has(self.interval) || !self.interval.matches('{DURATION_PATTERN}')"
            f" || {cel_seconds('self.interval')} >= 60",
            "interval must be at least 1m",
            field_path=".interval",
        ),
        Rule(
            "!has(self.jitter) || !has(self.interval)"
            f" || !self.jitter.matches('{DURATION_PATTERN}') || !self.interval.matches('{DURATION_PATTERN}')"
            f" || {cel_seconds('self.jitter')} < {cel_seconds('self.interval')}",
            "jitter must be shorter than interval",
            field_path=".jitter",
        ),
    )

    cron: str | None = Field(
        default=None,
        min_length=1,
        max_length=120,
        description="Five fields: minute hour day month weekday; or @hourly, @daily, @weekly, @monthly, @yearly.",
    )
    interval: Duration | None = Field(
        default=None,
        description="For example 30m, 6h, 7d. When in it is fixed by the object's uid, so that not all start at once;"
        " the first time at least half an interval after the sync on creation.",
    )
    time_zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="IANA name, for example Europe/Paris. Default UTC.",
    )
    jitter: Duration | None = Field(
        default=None, description="Spreads the starts: a fixed offset below this, from the object's uid."
    )
    starting_deadline_seconds: int | None = Field(
        default=None, ge=1, le=2592000, description="A run missed by more than this is skipped."
    )
    immediate: bool = Field(default=True, description="Run once on creation.")


class FieldMapping(Model):
    field: str = Field(min_length=1, max_length=63, description="Field of the entity, for example owner_email.")
    expression: str = Field(
        min_length=1,
        max_length=2048,
        description="JMESPath over the source's record; it replaces what the connector says.",
    )


class Guard(Model):
    max_delete_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Stop instead of marking more than this share of the rows as deleted in one run.",
    )


class IntegrationStream(Model):
    rules: ClassVar = (
        Rule(
            "!has(self.fullEvery) || !has(self.mode) || self.mode == 'Incremental'",
            "fullEvery only has a meaning with mode Incremental",
            field_path=".fullEvery",
        ),
    )

    name: StreamName = Field(description="Name of a stream of the connector.")
    mode: Literal["Incremental", "Full"] | None = Field(default=None, description="Incremental if left out.")
    full_every: Duration | None = Field(
        default=None,
        description="How often an incremental stream is read in full, which finds deletions. For example 7d.",
    )
    lookback: Duration | None = Field(default=None, description="How far before the checkpoint to read again.")
    filter: str | None = Field(
        default=None, max_length=2048, description="JMESPath over the source's record; keeps what is true."
    )
    mapping: list[FieldMapping] | None = listmap(
        "field", max_length=100, description="Fields that are filled in another way than the connector does."
    )
    guard: Guard | None = Field(default=None, description="What a run of this stream may not do.")


class IntegrationWebhook(Model):
    secret_ref: SecretRef = Field(description="A Secret with the signing key and the token of the path.")
    streams: list[Annotated[str, Field(min_length=1, max_length=63)]] | None = listset(
        min_length=1, max_length=50, description="Streams that a delivery syncs. Left out, all."
    )


class Retry(Model):
    max_attempts: int = Field(
        default=4,
        ge=1,
        le=10,
        description="Attempts of one sync, the first included. Evictions and the like do not count.",
    )


class JobSettings(Model):
    """A few settings of the Job; not a pod template."""

    active_deadline_seconds: int | None = Field(
        default=None, ge=60, le=604800, description="How long one attempt may take. Left out, what the connector says."
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, ge=600, le=2592000, description="When Kubernetes removes a finished Job that Towline did not."
    )
    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None,
        max_length=16,
        description="Labels for the Job, for example kueue.x-k8s.io/queue-name.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.all(k, size(k) <= 317 && !k.contains('towline.dev/')"
                    " && !k.contains('kubernetes.io/') && k != 'job-name' && k != 'controller-uid')",
                    "message": "labels of towline.dev, kubernetes.io and the Job controller are not yours to set",
                }
            ]
        },
    )
    resources: Resources | None = Field(
        default=None, description="CPU and memory of the pod. Left out, what the connector says."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=16, description="Labels of the nodes that the pod may run on."
    )


class IntegrationSpec(Model):
    rules: ClassVar = (
        Rule(
            "!has(self.webhook) || !has(self.webhook.streams) || !has(self.streams)"
            " || self.webhook.streams.all(w, self.streams.exists(s, s.name == w))",
            "every stream of the webhook must also be named in spec.streams"
            " (or leave spec.streams out to take all streams)",
            "'every stream of the webhook must also be named in spec.streams (or leave spec.streams out to take all"
            " streams): ' + self.webhook.streams.filter(w, !self.streams.exists(s, s.name == w))[0] + ' is not'",
            field_path=".webhook.streams",
        ),
    )

    connector_ref: ConnectorRef = Field(
        description="The Connector (cluster-scoped) that this Integration uses. It cannot be changed later."
    )
    suspend: bool = Field(default=False, description="Stop new runs. A run in progress goes on.")
    config: FreeObject | None = Field(
        default=None,
        max_length=100,
        description="Settings of the connector, as its spec.configSchema says (kubectl get connector NAME -o yaml).",
    )
    credentials: Credentials | None = Field(
        default=None, description="How the connector gets its credentials. Left out, it has none."
    )
    ca_bundle_ref: CABundleRef | None = Field(default=None, description="Certificates of a private authority, in PEM.")
    proxy_secret_ref: SecretRef | None = Field(default=None, description="A Secret with the key proxy_url.")
    schedule: Schedule | None = Field(
        default=None,
        description="When to sync. Without it only manual requests and webhooks start a sync.",
    )
    concurrency_policy: Literal["Forbid", "Replace"] = Field(
        default="Forbid", description="What happens when a run is due while one is in progress."
    )
    streams: list[IntegrationStream] | None = listmap(
        "name",
        min_length=1,
        max_length=50,
        description="The streams to sync. Left out, all of the connector's.",
    )
    webhook: IntegrationWebhook | None = Field(default=None, description="Deliveries of the vendor start a sync.")
    destination_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret with the key url, for example postgresql://user:password@host/database."
        " Left out, the installation's default destination.",
    )
    retry: Retry | None = Field(
        default=None,
        description="How often Towline itself tries again after a transient failure. Each attempt is a Job of its own.",
    )
    job: JobSettings | None = None
    successful_syncs_history_limit: int = Field(
        default=3, ge=0, le=100, description="How many SyncJobs that succeeded are kept."
    )
    failed_syncs_history_limit: int = Field(
        default=3, ge=0, le=100, description="How many SyncJobs that failed are kept."
    )
    deletion_policy: Literal["Retain"] = Field(
        default="Retain", description="What happens to the rows when this Integration is deleted: they stay."
    )


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


class Integration(Model):
    """Integration connects one external system. Towline checks its credentials and syncs it on schedule."""

    rules: ClassVar = (
        Rule(
            "size(self.metadata.name) <= 40",
            "the name must be at most 40 characters, because the names of its Jobs are made from it",
            field_path=".metadata.name",
        ),
        Rule(
            "!self.metadata.name.contains('.')",
            "the name must not contain dots, because the names of its Jobs are made from it",
            field_path=".metadata.name",
        ),
    )

    api_version: Literal["towline.dev/v1alpha1"] = "towline.dev/v1alpha1"
    kind: Literal["Integration"] = "Integration"
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: IntegrationSpec
    status: IntegrationStatus | None = None
