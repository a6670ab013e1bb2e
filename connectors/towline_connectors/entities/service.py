"""Services: what a company runs, for whom it matters that an asset is down."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

SERVICE = Entity(
    name="service",
    table="services",
    description="A business or technical service.",
    fields=(
        Field("name", "text", "Name."),
        Field("version", "text", "Version."),
        Field("description", "text", "What it is."),
        Field("status", "text", "State in the source's own words."),
        Field("criticality", "text", "How much hangs on it, in the source's words."),
        Field("owner", "ref", "Who is responsible for it.", ref="user"),
        Field("owner_group", "ref", "Group that is responsible for it.", ref="group"),
        Field("labels", "texts", "Tags."),
        Field("src_url", "text", "Page about it in the source."),
        EXT,
    ),
)
