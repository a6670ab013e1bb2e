"""Answers whose client asked for what is shown beside what is stored.

ServiceNow gives each field as `{display_value, value}`, a reference as `{display_value, value, link}`, where
`sysparm_display_value` is `all`, and a reference as `{display_value, link}` where it is `true`. Towline never asks for
either, so the manifest need not read them; what was recorded so is given as it would be without that parameter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from towline_connectors.kit.har import Entry
from towline_connectors.kit.recorded import document


def as_stored(entry: Entry) -> Entry:
    """The answer with what is stored in place of such pairs. Others stay as they are, to the byte."""
    if b'"display_value"' not in entry.body:
        return entry
    answer = document(entry.body)
    if not isinstance(answer, dict):
        return entry
    plain = {name: _records(part) for name, part in answer.items()}
    return entry if plain == answer else replace(entry, body=orjson.dumps(plain))


def _records(part: Any) -> Any:
    if isinstance(part, list):
        return [_record(each) for each in part]
    return _record(part)


def _record(record: Any) -> Any:
    if not isinstance(record, dict):
        return record
    return {name: _stored(value) for name, value in record.items()}


def _stored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"display_value", "value"}:
        return value["value"]
    if value.keys() == {"display_value", "link"} and isinstance(value["link"], str):
        return {**value, "value": value["link"].rpartition("/")[2]}
    return value
