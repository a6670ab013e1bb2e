"""All that the operator and a connector run share: plan, result, exit codes, paths in the pod.

The operator writes a `Plan` as JSON into the pod's annotation `towline.dev/plan`; the run leaves a
`RunResult` as JSON in its termination message. Neither ever holds a secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from towline.api.conditions import Reason

PLAN_ANNOTATION = "towline.dev/plan"
CHECKS_UNTIL = "towline.dev/checks-until"  # of a Job: up to when its plan tells of checks of the credentials
ENDS_UNTIL = "towline.dev/ends-until"  # of a Job: up to when its plan tells of ends of earlier syncs
PLAN_PATH = "/run/towline/plan/plan.json"
CREDENTIALS_PATH = "/run/towline/credentials"  # one file per credential key of the connector
DESTINATION_PATH = "/run/towline/destination"  # file `url`, when the destination comes from a Secret
CA_BUNDLE_PATH = "/run/towline/ca/ca.crt"
PROXY_PATH = "/run/towline/proxy/proxy_url"
REPORTS_PATH = "/run/towline/reports"  # a claim with reports, where the connector reads files
DATA_PATH = "/var/lib/towline"  # the volume of the SQLite destination
TERMINATION_LOG_PATH = "/dev/termination-log"
MAX_RESULT_BYTES = 3500  # the kubelet cuts a termination message at 4,096 bytes
POD_UID_ENV = "TOWLINE_POD_UID"
PROGRESS_TOKEN_PATH = "/run/towline/token/token"  # noqa: S105  a path; proves to the operator which pod speaks
PROGRESS_AUDIENCE = "towline"  # the API server itself refuses tokens of this audience
PROGRESS_EVERY = 5.0  # seconds between two reports of a pod
MAX_REPORT_BYTES = 16_384

REQUESTED_AT = "towline.dev/requested-at"
REQUESTED_BY = "towline.dev/requested-by"
FULL_AT = "towline.dev/full-at"
CANCEL = "towline.dev/cancel"
ALLOWED_HOSTS = "towline.dev/allowed-hosts"
EXPIRES_AT = "towline.dev/expires-at"


class ExitCode(IntEnum):
    """How a connector run ends; the Job's podFailurePolicy and the operator read it (design/api.md 7)."""

    OK = 0
    USAGE = 64
    SCHEMA = 65
    BUG = 70
    TRANSIENT = 75
    CREDENTIALS = 77
    CONFIG = 78
    POLICY = 80


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


ActivityKind = Literal["Run", "Push", "Check", "Change"]
MAX_SEEN = 40  # records that one plan hands to a run


class Activity(_Wire):
    """One record of what happened, as docs/decisions/0014 tells. The same record always has the same id."""

    id: str = Field(max_length=200)
    kind: ActivityKind
    time: str = Field(description="ISO 8601: when it happened, of what lasts when it began")
    finished: str | None = None
    object: str = Field(max_length=320, description="Kind/name of what it is about")
    trigger: str = Field(default="", max_length=64, description="Schedule, Manual, SpecChange …")
    actor: str = Field(default="", max_length=256, description="who asked for it or changed it, as far as known")
    outcome: str = Field(default="", max_length=64, description="a reason as in conditions")
    message: str = Field(default="", max_length=600)
    records: int | None = Field(default=None, ge=0)
    calls: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0, description="received from the system, before inflating")
    correlation: str = Field(default="", max_length=128, description="uid of the object, /attempt or /version")
    detail: dict[str, Any] = Field(default_factory=dict)


class Origin(_Wire):
    """Why a run was started, and what happened before it that no run has recorded yet."""

    trigger: str = Field(default="Manual", max_length=64)
    actor: str = Field(default="", max_length=256)
    keep_days: int = Field(default=90, ge=1, description="how long records of activity are kept")
    seen: list[Activity] = Field(default_factory=list, max_length=MAX_SEEN)
    ends_until: str = Field(default="", description="ISO 8601: all ends of syncs up to then are recorded or in `seen`")


class SyncIdentity(_Wire):
    """Which attempt this is. The fence of the destination: (uid, attempt, pod uid)."""

    uid: str
    name: str
    namespace: str
    attempt: int = Field(ge=1)
    created: str = Field(description="ISO 8601; a newer SyncJob of the same integration wins the fence")
    origin: Origin = Field(default_factory=Origin)


class StreamPlan(_Wire):
    """What the Integration says of one stream, and whether this run reads it in full."""

    name: str
    full: bool = False
    lookback: str | None = None
    full_every: str | None = None
    filter: str | None = None
    mapping: dict[str, str] = Field(default_factory=dict)
    max_delete_percent: int | None = None


class Destination(_Wire):
    """Where rows go. `url` comes from a mounted Secret or the command line and never stands in a plan."""

    kind: Literal["SQLite", "Secret"] = "SQLite"
    path: str | None = Field(default=None, description="SQLite file")


class Egress(_Wire):
    """Where an installation lets syncs connect to, beside public addresses. Administrators decide, never an author.
    Entries are CIDRs, perhaps with a port: 10.0.0.0/8, 10.1.2.3/32:636, [fd00::/8]:443."""

    allow: list[str] = Field(default_factory=list, max_length=256)
    deny: list[str] = Field(default_factory=list, max_length=256)


class Plan(_Wire):
    v: Literal[1] = 1
    sync: SyncIdentity
    integration: str = Field(description="namespace/name: the value of the tables' column `integration`")
    mode: Literal["Incremental", "Full", "Check"] = "Incremental"
    streams: list[StreamPlan]
    config: dict[str, Any] = Field(default_factory=dict, description="with the schema's defaults filled in")
    connector: str = Field(description="name of the Connector")
    manifest: dict[str, Any] = Field(description="Connector.spec as applied")
    allowed_hosts: list[str] = Field(
        default_factory=list, description="hosts that credentials may go to; *.example.com matches below"
    )
    egress: Egress | None = Field(default=None, description="None: a person's own machine, which may reach itself")
    destination: Destination = Field(default_factory=Destination)
    deadline_seconds: int = 3600
    progress_url: str = Field(default="", description="where the pod tells how far it is; empty: nowhere")


class StreamReport(_Wire):
    """How far one stream is."""

    name: str = Field(max_length=63)
    read: int = Field(default=0, ge=0, le=2**53)
    upserted: int = Field(default=0, ge=0, le=2**53)
    deleted: int = Field(default=0, ge=0, le=2**53)
    rejected: int = Field(default=0, ge=0, le=2**53)
    expected: int | None = Field(default=None, ge=0, le=2**53, description="records that the source announced")


class ProgressReport(_Wire):
    """What a pod tells while it runs, at most every PROGRESS_EVERY seconds. Losing one harms nothing."""

    v: Literal[1] = 1
    sync_uid: str = Field(max_length=64)
    attempt: int = Field(ge=1)
    stream: str = Field(max_length=63, description="the stream that is being read")
    streams: list[StreamReport] = Field(min_length=1, max_length=50)
    rate: int = Field(default=0, ge=0, le=2**53, description="records a second since the last report")


class StreamResult(_Wire):
    name: str = Field(max_length=63)
    read: int = Field(default=0, ge=0)
    upserted: int = Field(default=0, ge=0, description="rows new or changed")
    deleted: int = Field(default=0, ge=0)
    rejected: int = Field(default=0, ge=0)
    checkpoint: str | None = Field(default=None, max_length=256)
    full: bool = False
    skipped: str | None = Field(default=None, max_length=256, description="why an optional stream was left out")


class RunResult(_Wire):
    """The termination message, at most MAX_RESULT_BYTES of JSON."""

    v: Literal[1] = 1
    sync_uid: str = Field(max_length=64)
    attempt: int = Field(ge=1)
    pod_uid: str = Field(default="", max_length=64)
    reason: Reason
    message: str = Field(default="", max_length=600, description="one sentence for a person, without secrets")
    retry_after_seconds: int | None = Field(default=None, ge=0, le=86400)
    streams: list[StreamResult] = Field(
        default_factory=list, max_length=50, description="none where nothing can have been written to the destination"
    )
    http: dict[str, int] = Field(default_factory=dict, max_length=16, description="requests by class: 2xx, 429 …")
    received: int = Field(default=0, ge=0, exclude=True, description="bytes from the system; stays in the pod")


EXIT_CODES: dict[Reason, ExitCode] = {
    Reason.COMPLETED: ExitCode.OK,
    Reason.PARTIALLY_COMPLETED: ExitCode.OK,
    Reason.CREDENTIALS_REJECTED: ExitCode.CREDENTIALS,
    Reason.PERMISSION_DENIED: ExitCode.CREDENTIALS,
    Reason.CONFIG_INVALID: ExitCode.CONFIG,
    Reason.KEY_MISSING: ExitCode.CONFIG,
    Reason.HOST_NOT_ALLOWED: ExitCode.CONFIG,
    Reason.ADDRESS_NOT_ALLOWED: ExitCode.CONFIG,
    Reason.INVALID_MANIFEST: ExitCode.USAGE,
    Reason.SCHEMA_MISMATCH: ExitCode.SCHEMA,
    Reason.CONNECTOR_BUG: ExitCode.BUG,
    Reason.UNREACHABLE: ExitCode.TRANSIENT,
    Reason.RATE_LIMITED: ExitCode.TRANSIENT,
    Reason.DEADLINE_EXCEEDED: ExitCode.TRANSIENT,
    Reason.DESTINATION_UNAVAILABLE: ExitCode.TRANSIENT,
    Reason.DESTINATION_FULL: ExitCode.TRANSIENT,
    Reason.SUPERSEDED: ExitCode.TRANSIENT,
    Reason.DISRUPTED: ExitCode.TRANSIENT,
    Reason.POLICY_VIOLATION: ExitCode.POLICY,
}
"""The exit code of each reason that a run may end with."""
