"""Scores: a rating of a company, group, asset or user in a source's own scale. OCSF knows them only inside others."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, Entity, Field

SCORE = Entity(
    name="score",
    table="scores",
    description="A rating such as a secure score, of the company or of one thing.",
    fields=(
        Field("name", "text", "What is rated, as Exposure score."),
        Field("category", "text", "Part or group that the rating is for."),
        Field("value", "number", "The rating."),
        Field("max_value", "number", "The highest that can be reached, where the source tells."),
        Field("asset", "ref", "Asset that is rated.", ref="asset", indexed=True),
        Field("user", "ref", "User who is rated.", ref="user"),
        Field("description", "text", "What the source says about it."),
        Field("measured_time", "time", "When it was measured."),
        EXT,
    ),
)
