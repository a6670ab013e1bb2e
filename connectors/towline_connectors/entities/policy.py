"""Policies: OCSF policy."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

POLICY = Entity(
    name="policy",
    table="policies",
    description="A rule set of a security or management system.",
    fields=(
        Field("name", "text", "Name."),
        Field("description", "text", "What it is for."),
        Field("version", "text", "Version."),
        Field("type", "text", "Kind, in the source's words."),
        Field("is_applied", "boolean", "Whether it is in force."),
        Field("data", "json", "The policy itself."),
        Field("created_time", "time", "When it was made."),
        EXT,
    ),
)
