"""Events: OCSF base event (class 0), for what a search in a log system gives."""

from __future__ import annotations

from towline_connectors.entities.enums import SEVERITY
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
        Field("user_name", "text", "User that it is about."),
        Field("src_ip", "texts", "Addresses that it came from."),
        Field("dst_ip", "texts", "Addresses that it went to."),
        Field("outcome", "text", "How it ended, in the source's words."),
        Field("data", "json", "The fields that the search gave."),
        EXT,
    ),
)
