"""From an answer's bytes to values: the formats are in `answers`."""

from __future__ import annotations

from towline_connectors.engine.answers.document import decode, document
from towline_connectors.engine.answers.json import loads as decode_json

__all__ = ["decode", "decode_json", "document"]
