"""Change requests: OCSF ticket."""

from __future__ import annotations

from towline_connectors.entities.enums import CHANGE_STATUS, CHANGE_TYPE, PRIORITY, RISK_LEVEL
from towline_connectors.entities.model import EXT, Entity, Field

CHANGE_REQUEST = Entity(
    name="change_request",
    table="change_requests",
    description="A change that people approve before it is made.",
    fields=(
        Field("number", "text", "What people call it, as CHG0030001."),
        Field("title", "text", "Short description."),
        Field("description", "text", "Long description."),
        Field("type_id", "integer", "Kind of change.", enum=CHANGE_TYPE),
        Field("status_id", "integer", "State.", enum=CHANGE_STATUS),
        Field("status", "text", "State in the source's own words."),
        Field("approval", "text", "none, pending, approved or rejected."),
        Field("priority_id", "integer", "Priority.", enum=PRIORITY),
        Field("risk_level_id", "integer", "Risk.", enum=RISK_LEVEL),
        Field("requester", "ref", "Who asked for it.", ref="user"),
        Field("assignee_user", "ref", "Who makes it.", ref="user"),
        Field("assigned_group", "ref", "Group that makes it.", ref="group"),
        Field("asset", "ref", "What it concerns.", ref="asset"),
        Field("correlation_uid", "text", "Id that another system gave it."),
        Field("src_url", "text", "Page about it in the source."),
        Field("planned_start_time", "time", "Planned start."),
        Field("planned_end_time", "time", "Planned end."),
        Field("opened_time", "time", "When it was opened."),
        Field("closed_time", "time", "When it was closed."),
        EXT,
    ),
)
