"""Findings: OCSF compliance finding (class 2003)."""

from __future__ import annotations

from towline_connectors.entities.enums import FINDING_STATUS, SEVERITY
from towline_connectors.entities.model import EXT, OBSERVED, Entity, Field

FINDING = Entity(
    name="finding",
    table="findings",
    description="A compliance or posture finding: a control that something does not meet.",
    fields=(
        Field("title", "text", "Name."),
        Field("description", "text", "What is wrong."),
        Field("control", "text", "Control that is not met."),
        Field("standard", "text", "Standard that the control belongs to."),
        Field("severity_id", "integer", "Severity.", enum=SEVERITY),
        Field("status_id", "integer", "State.", enum=FINDING_STATUS),
        Field("asset", "ref", "Where it was found.", ref="asset"),
        Field("user", "ref", "Whom it concerns.", ref="user"),
        Field("resource_uid", "text", "Id of the resource concerned, where it is no asset."),
        Field("resource_type", "text", "Kind of resource."),
        Field("resource_name", "text", "Name of the resource."),
        Field("cloud_account", "text", "Cloud account or subscription."),
        Field("region", "text", "Cloud region."),
        Field("remediation", "text", "What to do."),
        Field("src_url", "text", "Page about it in the source."),
        *OBSERVED,
        Field("resolved_time", "time", "When it was resolved."),
        EXT,
    ),
)
