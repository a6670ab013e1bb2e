"""Threat reports: what a threat-intelligence source tells as one story; OCSF osint report."""

from __future__ import annotations

from towline_connectors.entities.enums import SEVERITY
from towline_connectors.entities.model import EXT, Entity, Field

THREAT_REPORT = Entity(
    name="threat_report",
    table="threat_reports",
    description="A report that several indicators belong to.",
    fields=(
        Field("title", "text", "Name."),
        Field("description", "text", "What it is about."),
        Field("severity_id", "integer", "Severity.", enum=SEVERITY),
        Field("status", "text", "State in the source's own words."),
        Field("author", "text", "Who wrote it."),
        Field("tlp", "text", "Traffic Light Protocol mark."),
        Field("labels", "texts", "Tags."),
        Field("threat_names", "texts", "Malware, tools and actors."),
        Field("attacks", "texts", "MITRE ATT&CK technique ids."),
        Field("is_published", "boolean", "Whether it is published."),
        Field("src_url", "text", "Page about it."),
        Field("observed_time", "time", "Day of what it tells of."),
        Field("published_time", "time", "When it was last published."),
        Field("created_time", "time", "When the source made its record."),
        EXT,
    ),
)
