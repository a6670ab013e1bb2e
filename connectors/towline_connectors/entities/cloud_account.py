"""Cloud accounts: OCSF account of a cloud."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

CLOUD_ACCOUNT = Entity(
    name="cloud_account",
    table="cloud_accounts",
    description="An account, subscription or project at a cloud provider.",
    fields=(
        Field("name", "text", "Name."),
        Field("provider", "text", "Cloud, as AWS."),
        Field("account_uid", "text", "Its id at the provider."),
        Field("email_addr", "text", "Address of who is responsible."),
        Field("parent_uid", "text", "Id of the account or folder that manages it."),
        Field("status", "text", "State in the source's own words."),
        Field("is_enabled", "boolean", "Whether the source takes it in."),
        Field("labels", "texts", "Tags, as key:value."),
        Field("created_time", "time", "When the source took it in."),
        EXT,
    ),
)
