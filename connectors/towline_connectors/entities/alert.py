"""Alerts: OCSF detection finding (class 2004)."""

from __future__ import annotations

from towline_connectors.entities.enums import FINDING_STATUS, SEVERITY
from towline_connectors.entities.model import EXT, OBSERVED, Entity, Field

ALERT = Entity(
    name="alert",
    table="alerts",
    description="A detection that somebody should look at.",
    fields=(
        Field("title", "text", "Name."),
        Field("description", "text", "What was detected."),
        Field("severity_id", "integer", "Severity.", enum=SEVERITY),
        Field("status_id", "integer", "State.", enum=FINDING_STATUS),
        Field("confidence_score", "number", "How sure the source is (0 to 100)."),
        Field("category", "text", "Kind, in the source's words."),
        Field("product_name", "text", "Product that detected it."),
        Field("attacks", "texts", "MITRE ATT&CK technique ids."),
        Field("asset", "ref", "Where.", ref="asset"),
        Field("user", "ref", "Who.", ref="user"),
        Field("incident", "ref", "Incident that it belongs to.", ref="incident"),
        Field("evidences", "json", "What the alert rests on."),
        Field("assignee", "text", "Who works on it."),
        Field("src_url", "text", "Page about it in the source."),
        Field("created_time", "time", "When the alert was raised."),
        *OBSERVED,
        Field("resolved_time", "time", "When it was resolved."),
        EXT,
    ),
)
