"""Relations between configuration items, as a CMDB keeps them."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

RELATION = Entity(
    name="relation",
    table="relations",
    description="That one configuration item depends on, runs on or contains another.",
    fields=(
        Field("parent", "ref", "The item that the relation goes out from: an asset or a service.", indexed=True),
        Field("child", "ref", "The item that it leads to.", indexed=True),
        Field("type", "text", "Kind, in the source's words, as Runs on::Runs."),
        Field("type_uid", "text", "Key of the kind in the source."),
        Field("created_time", "time", "When the source made its record."),
        EXT,
    ),
)
