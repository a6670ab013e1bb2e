"""Comments: what people write on a ticket, incident or alert."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

COMMENT = Entity(
    name="comment",
    table="comments",
    description="A comment on a ticket, incident or alert.",
    fields=(
        Field("record", "ref", "What it was written on; record_entity tells of which entity.", indexed=True),
        Field("record_entity", "text", "Entity of record, as incident."),
        Field("author", "ref", "Who wrote it.", ref="user"),
        Field("author_name", "text", "Who wrote it, by name."),
        Field("text", "text", "What was written."),
        Field("is_internal", "boolean", "Whether it is hidden from the person who reported."),
        Field("created_time", "time", "When it was written."),
        Field("edited_time", "time", "When it was last edited."),
        EXT,
    ),
)
