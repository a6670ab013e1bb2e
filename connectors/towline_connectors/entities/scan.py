"""Scans: runs of a scanner, OCSF scan activity (class 6007)."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

SCAN = Entity(
    name="scan",
    table="scans",
    description="A run of a scanner.",
    fields=(
        Field("name", "text", "Title."),
        Field("type", "text", "Kind, in the source's words."),
        Field("status", "text", "State in the source's own words."),
        Field("targets", "texts", "Addresses, names or groups that it looks at."),
        Field("owner", "ref", "Who launched it.", ref="user"),
        Field("owner_name", "text", "Who launched it, by name."),
        Field("policy", "ref", "Rules that it scans by.", ref="policy"),
        Field("started_time", "time", "When it began."),
        Field("ended_time", "time", "When it ended."),
        Field("duration", "integer", "How long it took, in seconds."),
        Field("created_time", "time", "When the source made its record."),
        EXT,
    ),
)
