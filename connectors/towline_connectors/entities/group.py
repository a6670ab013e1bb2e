"""Groups: OCSF group. Correlate by source key, then domain with name."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

GROUP = Entity(
    name="group",
    table="groups",
    description="A group of users, groups or assets.",
    fields=(
        Field("name", "text", "Name."),
        Field("description", "text", "What it is for."),
        Field("domain", "text", "Directory domain."),
        Field("dn", "text", "Distinguished name in a directory."),
        Field("sid", "text", "Windows security identifier."),
        Field("email_addr", "text", "Distribution address."),
        Field("type", "text", "Kind, in the source's words."),
        Field("manager", "ref", "Who is responsible for it.", ref="user"),
        Field("manager_dn", "text", "Distinguished name of the manager."),
        Field("privileges", "texts", "Rights that membership gives."),
        Field("is_enabled", "boolean", "Whether it is in use."),
        Field("created_time", "time", "When it was made."),
        EXT,
    ),
)
