"""Second factors: OCSF auth_factor, as a user has set them up."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

AUTH_FACTOR = Entity(
    name="auth_factor",
    table="auth_factors",
    description="A second factor that a user has set up.",
    fields=(
        Field("user", "ref", "Whose it is.", ref="user", indexed=True),
        Field("type", "text", "Kind, in the source's words, as push or webauthn."),
        Field("provider", "text", "Who provides it."),
        Field("name", "text", "Name that the user or maker gave it."),
        Field("status", "text", "State in the source's own words."),
        Field("is_enabled", "boolean", "Whether it can be used."),
        Field("created_time", "time", "When it was set up."),
        Field("last_used_time", "time", "When it was last used."),
        EXT,
    ),
)
