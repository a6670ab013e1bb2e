"""Events: OCSF base event (class 0), for logs of sign-ins and changes and for what a search gives."""

from __future__ import annotations

from towline_connectors.entities.enums import RISK_LEVEL, SEVERITY
from towline_connectors.entities.model import EXT, Entity, Field

EVENT = Entity(
    name="event",
    table="events",
    description="An event of a log.",
    fields=(
        Field("event_time", "time", "When it happened.", indexed=True),
        Field("indexed_time", "time", "When the source stored it."),
        Field("message", "text", "The event as it was logged."),
        Field("title", "text", "What it is, in a few words."),
        Field("category", "text", "Kind, in the source's words."),
        Field("severity_id", "integer", "Severity.", enum=SEVERITY),
        Field("host", "text", "Host that it is about."),
        Field("source", "text", "File, port or stream that it came by."),
        Field("source_type", "text", "Format of the log."),
        Field("log_name", "text", "Index or log that holds it."),
        Field("user", "ref", "User that it is about, where the source names one of its own.", ref="user"),
        Field("user_name", "text", "User that it is about."),
        Field("asset", "ref", "Asset that it is about.", ref="asset"),
        Field("application", "ref", "Application that it is about.", ref="application"),
        Field("application_name", "text", "Application that it is about."),
        Field("src_ip", "texts", "Addresses that it came from."),
        Field("dst_ip", "texts", "Addresses that it went to."),
        Field("location", "text", "Place that it came from."),
        Field("user_agent", "text", "Program that it came from."),
        Field("targets", "texts", "What else it is about."),
        Field("outcome", "text", "How it ended, in the source's words."),
        Field("outcome_detail", "text", "Why it ended so."),
        Field("risk_level_id", "integer", "Risk.", enum=RISK_LEVEL),
        Field("data", "json", "The fields that the search gave."),
        EXT,
    ),
)
