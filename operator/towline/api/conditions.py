"""Conditions (`metav1.Condition`) and the closed list of their reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from towline.api.base import Model, Time


class Condition(Model):
    type: str = Field(
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        description="What it speaks of.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, in one word; alerts match on it.",
    )
    message: str = Field(max_length=32768, description="Why, in a sentence, and what to do.")
    observed_generation: int | None = Field(default=None, ge=0, description="Generation of the spec that it speaks of.")
    last_transition_time: Time = Field(description="When its status last changed.")


class ConditionType(StrEnum):
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    CREDENTIALS_VALID = "CredentialsValid"
    HEALTHY = "Healthy"
    FRESH = "Fresh"


class Reason(StrEnum):
    """Every reason that Towline writes into a condition or an event. Users and alerts match on them."""

    # Integration Ready
    PENDING = "Pending"
    PROGRESSING = "Progressing"
    AWAITING_FIRST_SYNC = "AwaitingFirstSync"
    SYNCED = "Synced"
    SYNC_FAILED = "SyncFailed"
    # Integration Stalled: a person has to act
    INVALID_SPEC = "InvalidSpec"
    INVALID_SCHEDULE = "InvalidSchedule"
    UNKNOWN_TIME_ZONE = "UnknownTimeZone"
    CONNECTOR_NOT_FOUND = "ConnectorNotFound"
    CONNECTOR_INVALID = "ConnectorInvalid"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    KEY_MISSING = "KeyMissing"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    CREDENTIALS_REJECTED = "CredentialsRejected"
    POLICY_VIOLATION = "PolicyViolation"
    # Connector Ready
    VALID = "Valid"
    INVALID_MANIFEST = "InvalidManifest"
    # CredentialsValid, Healthy, Fresh
    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"
    DEGRADED = "Degraded"
    EXPIRES_SOON = "ExpiresSoon"
    CERTIFICATE_EXPIRES_SOON = "CertificateExpiresSoon"
    EXPIRED = "Expired"
    RATE_LIMITED = "RateLimited"
    UP_TO_DATE = "UpToDate"
    STALE = "Stale"
    # SyncJob Succeeded
    QUEUED = "Queued"
    RUNNING = "Running"
    RETRYING = "Retrying"
    COMPLETED = "Completed"
    PARTIALLY_COMPLETED = "PartiallyCompleted"
    CONFIG_INVALID = "ConfigInvalid"
    INTEGRATION_NOT_FOUND = "IntegrationNotFound"
    PERMISSION_DENIED = "PermissionDenied"
    SCHEMA_MISMATCH = "SchemaMismatch"
    CONNECTOR_BUG = "ConnectorBug"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    DESTINATION_UNAVAILABLE = "DestinationUnavailable"
    DESTINATION_FULL = "DestinationFull"
    VOLUME_NOT_BOUND = "VolumeNotBound"
    DISRUPTED = "Disrupted"
    SUPERSEDED = "Superseded"
    RESULT_LOST = "ResultLost"
    RESULT_INVALID = "ResultInvalid"
    REPLACED = "Replaced"
    CANCELLED = "Cancelled"
