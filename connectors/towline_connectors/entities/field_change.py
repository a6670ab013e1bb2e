"""Changes of fields: a ticket's history."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

FIELD_CHANGE = Entity(
    name="field_change",
    table="field_changes",
    description="That a field of a record was changed.",
    fields=(
        Field("record", "ref", "What was changed; record_entity tells of which entity.", indexed=True),
        Field("record_entity", "text", "Entity of record, as incident."),
        Field("field", "text", "Field, in the source's words."),
        Field("old_value", "text", "Value before."),
        Field("new_value", "text", "Value after."),
        Field("author", "ref", "Who changed it.", ref="user"),
        Field("author_name", "text", "Who changed it, by name."),
        Field("changed_time", "time", "When."),
        EXT,
    ),
)
