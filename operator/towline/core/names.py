"""Deterministic names. A name is a lock: whoever creates the object first has it, and a second try adopts it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

MAX_SYNC_NAME = 58
MAX_JOB_NAME = 63


def digest(token: str) -> str:
    """The first eight hexadecimal digits of the SHA-256 of a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def scheduled(integration: str, tick: datetime) -> str:
    """SyncJob of one tick: `<integration>-<yyyymmdd>t<hhmmss>z`, in UTC."""
    return f"{integration}-{tick.astimezone(UTC).strftime('%Y%m%dt%H%M%Sz')}"


def requested(integration: str, token: str) -> str:
    """SyncJob of one value of the annotation requested-at."""
    return f"{integration}-m-{digest(token)}"


def spec_change(integration: str, token: str) -> str:
    """SyncJob that a new Integration, or a change of its spec or its Connector, starts."""
    return f"{integration}-s-{digest(token)}"


def credentials_rotated(integration: str, version: str) -> str:
    """SyncJob that a new version of the Secret starts after credentials were rejected."""
    return f"{integration}-c-{digest(version)}"


def job(sync: str, attempt: int) -> str:
    """Job of one attempt. Fits 63 characters, because names of SyncJobs have at most 58."""
    return f"{sync}-{attempt}"


def attempt_of(job_name: str, sync: str) -> int | None:
    """The attempt in the name of a Job of this SyncJob; None when the name is not one of ours."""
    prefix, _, number = job_name.rpartition("-")
    return int(number) if prefix == sync and number.isdigit() else None
