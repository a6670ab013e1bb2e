"""Indicators: OCSF osint (class 5021). Correlate by type_id with the canonical value."""

from __future__ import annotations

from towline_connectors.entities.enums import CONFIDENCE, INDICATOR_TYPE
from towline_connectors.entities.model import EXT, OBSERVED, Entity, Field

INDICATOR = Entity(
    name="indicator",
    table="indicators",
    description="An indicator of compromise from a threat-intelligence source.",
    fields=(
        Field("value", "text", "Address, name, hash or URL."),
        Field("type_id", "integer", "What the value is.", enum=INDICATOR_TYPE),
        Field("description", "text", "What is known of it."),
        Field("threat_name", "text", "Malware or actor."),
        Field("campaign", "text", "Campaign."),
        Field("tlp", "text", "Traffic Light Protocol mark."),
        Field("confidence_id", "integer", "How sure the source is.", enum=CONFIDENCE),
        Field("confidence_score", "number", "How sure the source is (0 to 100)."),
        Field("risk_score", "number", "Risk in the source's own scale."),
        Field("labels", "texts", "Tags."),
        Field("src_url", "text", "Page about it."),
        Field("created_time", "time", "When the source listed it."),
        *OBSERVED,
        Field("expiration_time", "time", "Until when it is valid."),
        EXT,
    ),
)
