"""Applications: OCSF application, what people log in to by an identity provider."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

APPLICATION = Entity(
    name="application",
    table="applications",
    description="An application that an identity provider lets people into.",
    fields=(
        Field("name", "text", "Name that people see."),
        Field("description", "text", "What it is."),
        Field("type", "text", "Kind or way to sign on, in the source's words."),
        Field("status", "text", "State in the source's own words."),
        Field("is_enabled", "boolean", "Whether people can sign on to it."),
        Field("owner", "ref", "Who is responsible for it.", ref="user"),
        Field("uid_alt", "text", "Another id: client id, template."),
        Field("vendor_name", "text", "Publisher."),
        Field("url", "text", "Where it is."),
        Field("labels", "texts", "Tags and features."),
        Field("created_time", "time", "When it was made."),
        EXT,
    ),
)
