"""Approvals: what people decided, or have to decide, on a change or a request."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

APPROVAL = Entity(
    name="approval",
    table="approvals",
    description="One person's decision on a change or a request.",
    fields=(
        Field("record", "ref", "What is decided on; record_entity tells of which entity.", indexed=True),
        Field("record_entity", "text", "Entity of record, as change_request."),
        Field("approver", "ref", "Who decides.", ref="user"),
        Field("group", "ref", "Group in whose name.", ref="group"),
        Field("status", "text", "none, pending, approved, rejected or cancelled."),
        Field("comments", "text", "What was said about it."),
        Field("due_time", "time", "Until when."),
        Field("created_time", "time", "When it was asked for."),
        EXT,
    ),
)
