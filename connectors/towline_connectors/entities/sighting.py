"""Sightings: that somebody saw an indicator."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

SIGHTING = Entity(
    name="sighting",
    table="sightings",
    description="That an indicator was seen, or found to be harmless.",
    fields=(
        Field("indicator", "ref", "What was seen.", ref="indicator", indexed=True),
        Field("report", "ref", "Report that the indicator belongs to.", ref="threat_report"),
        Field("type", "text", "sighting, false-positive or expiration."),
        Field("value", "text", "Value of the indicator."),
        Field("reporter", "text", "Who saw it."),
        Field("source", "text", "Sensor or system that saw it."),
        Field("observed_time", "time", "When it was seen."),
        EXT,
    ),
)
