"""When to look again at what an Integration names, while something about it has to be corrected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from towline.api.conditions import Reason
from towline.contract import REQUESTED_AT
from towline.core import times

_CURED_OUTSIDE = {
    Reason.SECRET_NOT_FOUND,
    Reason.KEY_MISSING,
    Reason.HOST_NOT_ALLOWED,
    Reason.CREDENTIALS_REJECTED,
    Reason.CONFIG_INVALID,
    Reason.PERMISSION_DENIED,
    Reason.NAMESPACE_NOT_ALLOWED,
}
"""Reasons whose cure lies in a Secret, in labels of the namespace or at the vendor: no event of ours tells of it."""


def recheck_seconds(raw: Mapping[str, Any], now: datetime, ceiling: float, calm: float) -> float:
    """How old what is known of Secrets may be, in seconds: `calm` while nothing has to be corrected.

    Otherwise as long as the trouble has lasted, from 1 s up to `ceiling`: a Secret that is applied a moment after its
    Integration is found at once, and one that stays away costs little.
    """
    conditions = (raw.get("status") or {}).get("conditions") or []
    stalled = next((one for one in conditions if one.get("type") == "Stalled"), None)
    if stalled is None or stalled.get("reason") not in _CURED_OUTSIDE:
        return calm
    since = times.moment(stalled.get("lastTransitionTime"))
    return min(ceiling, max(1.0, (now - since).total_seconds())) if since else ceiling


def asks_now(raw: Mapping[str, Any]) -> bool:
    """Whether a person has asked for a sync that has not been acted on: then nothing remembered counts."""
    token = (raw.get("metadata", {}).get("annotations") or {}).get(REQUESTED_AT)
    return bool(token) and str(token)[:64] != (raw.get("status") or {}).get("lastHandledRequestedAt")
