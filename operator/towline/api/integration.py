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
    cel_seconds,
    listmap,
    listset,
)
from towline.api.connector import Resources
from towline.api.integrationstatus import IntegrationStatus


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
