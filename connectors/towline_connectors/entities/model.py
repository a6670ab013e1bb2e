"""How an entity of the normalised model is described; each entity stands in a module of its own.

Names and enumerations follow OCSF (https://schema.ocsf.io). Tables hold the current state of each object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FieldType = Literal["text", "integer", "number", "boolean", "time", "texts", "json", "ref"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column. Python values in a row: text str, integer int (64 bits), number float, boolean bool, time
    str in ISO 8601 UTC with Z, texts list[str], json whatever JSON can hold; None where nothing is known.
    `ref` is the source key (str) of an object of entity `ref` within the same integration, stored in a column
    with the suffix `_key`; a `ref` field without `ref` may point to several entities."""

    name: str
    type: FieldType
    description: str = ""
    ref: str | None = None
    enum: tuple[tuple[int, str], ...] = ()
    indexed: bool = False  # an index of its own; costs time at each write

    @property
    def column(self) -> str:
        return f"{self.name}_key" if self.type == "ref" else self.name


@dataclass(frozen=True, slots=True)
class Entity:
    """`name` in manifests, `table` in the destination."""

    name: str
    table: str
    description: str
    fields: tuple[Field, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The order of a row tuple in a Batch: source_key, the fields, then TRAILING."""
        return ("source_key", *(field.column for field in self.fields), *TRAILING)


# Shared by several entities. First and last seen by Towline itself are columns of every table.
OBSERVED: Final = (
    Field("first_observed_time", "time", "When the source first saw it."),
    Field("last_observed_time", "time", "When the source last saw it."),
)
EXT: Final = Field("ext", "json", "What only this source has.")

# What the engine fills after the fields of each row. `scan_id` is None outside a full scan.
TRAILING = ("source_time", "content_hash", "scan_id", "raw")
# source_time: the vendor's modification time (ISO 8601) or None; an older one never overwrites a newer one.
# content_hash: 8-byte signed integer hash over the fields (not raw): rows that did not change keep modified_time.
# raw: the source's record as JSON bytes, or None.

# What the destination adds by itself: integration (part of the primary key with source_key), uid, stream,
# first_seen_time, last_seen_time, modified_time, deleted_time, run_id.
