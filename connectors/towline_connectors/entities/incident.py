"""Incidents: OCSF incident finding (class 2005). Status 3 is On Hold and 5 Closed here."""

from __future__ import annotations

from towline_connectors.entities.enums import INCIDENT_STATUS, PRIORITY, SEVERITY
from towline_connectors.entities.model import EXT, Entity, Field

INCIDENT = Entity(
    name="incident",
    table="incidents",
    description="A ticket or case that people work on.",
    fields=(
        Field("number", "text", "What people call it, as INC0010001."),
        Field("title", "text", "Short description."),
        Field("description", "text", "Long description."),
        Field("type", "text", "Kind of ticket, in the source's words: incident, service request, task."),
        Field("status_id", "integer", "State.", enum=INCIDENT_STATUS),
        Field("status", "text", "State in the source's own words."),
        Field("priority_id", "integer", "Priority.", enum=PRIORITY),
        Field("severity_id", "integer", "Severity.", enum=SEVERITY),
        Field("impact_id", "integer", "Impact.", enum=PRIORITY),
        Field("urgency_id", "integer", "Urgency.", enum=PRIORITY),
        Field("category", "text", "Category."),
        Field("subcategory", "text", "Subcategory."),
        Field("assignee", "text", "Who works on it, by name."),
        Field("assignee_user", "ref", "Who works on it.", ref="user"),
        Field("assignee_group", "text", "Group that works on it, by name."),
        Field("assigned_group", "ref", "Group that works on it.", ref="group"),
        Field("caller", "ref", "Who reported it.", ref="user"),
        Field("asset", "ref", "What it concerns.", ref="asset"),
        Field("finding_uids", "texts", "Keys of the findings and alerts that it is about."),
        Field("correlation_uid", "text", "Id that another system gave it."),
        Field("resolution", "text", "How it ended."),
        Field("src_url", "text", "Page about it in the source."),
        Field("opened_time", "time", "When it was opened."),
        Field("resolved_time", "time", "When it was resolved."),
        Field("closed_time", "time", "When it was closed."),
        Field("due_time", "time", "When it is due."),
        EXT,
    ),
)
