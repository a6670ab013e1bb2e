"""Memberships. A directory names members by distinguished name, other systems by key; either suffices."""

from __future__ import annotations

from towline_connectors.entities.enums import MEMBER_TYPE
from towline_connectors.entities.model import EXT, Entity, Field

MEMBERSHIP = Entity(
    name="membership",
    table="memberships",
    description="That a user, group or asset is in a group.",
    fields=(
        Field("group", "ref", "The group.", ref="group", indexed=True),
        Field("member", "ref", "The member; member_type_id tells of which entity."),
        Field("group_dn", "text", "Distinguished name of the group."),
        Field("member_dn", "text", "Distinguished name of the member, where its key is not known."),
        Field("member_type_id", "integer", "What the member is.", enum=MEMBER_TYPE),
        EXT,
    ),
)
