"""Which recorded answers are whose, where streams share a path and differ by a parameter, as searches do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from towline.api.connector import ConnectorSpec
from towline_connectors.engine import expressions
from towline_connectors.engine.errors import InvalidManifest
from towline_connectors.engine.values import Mismatch
from towline_connectors.kit import dummies
from towline_connectors.kit.har import Entry
from towline_connectors.kit.matching import resource
from towline_connectors.kit.recorded import REFERENCE, Manifest, asked_by, exchanges

_CHANGING = re.compile(r"\b(window|partition|secrets?|job|input)\b")
_WORD = re.compile(r"\w+")


def inferred(spec: ConnectorSpec, given: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, str]:
    """Settings that are a text without which a stream is not read, such as a search: what was asked for instead,
    unless that is what another stream asks for."""
    known = dummies.with_defaults(spec, given)
    streams = spec.wire().get("streams") or []
    found: dict[str, str] = {}
    for stream in streams:
        setting = re.match(r"=\s*config\.(\w+)\b", str(stream.get("when") or ""))
        if setting is None or known.get(setting[1]) != "":
            continue
        for name, template in _parameters(stream):
            if f"config.{setting[1]}" not in template:
                continue
            others = [_constants(each, known).get(name) for each in _beside(stream, streams)]
            asked = [value for entry in exchanges(asked_by(stream), entries) if (value := _value(entry, name))]
            free = [value for value in asked if not any(_is(other, value) for other in others)]
            # A value that stays what it is where it is filled in is one that somebody could have set.
            fitting = [value for value in free if _filled(template, {**known, setting[1]: value}) == value]
            if fitting:
                found[setting[1]] = fitting[0]
    return found


def of_others(
    stream: Manifest, streams: Sequence[Manifest], config: Mapping[str, Any], entries: Sequence[Entry]
) -> frozenset[int]:
    """The numbers of the entries at a stream's path that another stream asked for."""
    mine = _constants(stream, config)
    rivals = [_constants(each, config) for each in _beside(stream, streams)]
    shared = {name for rival in rivals for name, value in rival.items() if name in mine and mine[name] != value}
    if not shared:
        return frozenset()
    at = {id(entry) for entry in exchanges(asked_by(stream), entries)}
    return frozenset(
        number
        for number, entry in enumerate(entries)
        if id(entry) in at and any(_rather(name, mine, rivals, _value(entry, name)) for name in shared)
    )


def parents(stream: Manifest, streams: Sequence[Manifest]) -> frozenset[tuple[str, ...]]:
    """The resources whose records a stream is read by."""
    names = {part.get("stream") for part in stream.get("partitions") or [] if part["kind"] == "Parent"}
    return frozenset(found for each in streams if each["name"] in names and (found := _resource(each)))


def _rather(name: str, mine: Mapping[str, str], rivals: Sequence[Mapping[str, str]], value: str | None) -> bool:
    return value is not None and not _is(mine[name], value) and any(_is(rival.get(name), value) for rival in rivals)


def _is(asked: str | None, value: str) -> bool:
    """Whether what a stream asks for was asked for in these words: one search may say more than the other."""
    if not asked:
        return False
    return asked == value or set(_WORD.findall(asked.lower())) <= set(_WORD.findall(value.lower()))


def _beside(stream: Manifest, streams: Sequence[Manifest]) -> list[Manifest]:
    """The other streams of the same path, save those that are only read for the pieces of others."""
    path = _resource(stream)
    known = [each for each in streams if each.get("emit") and each["name"] != stream["name"]]
    return [each for each in known if path and _resource(each) == path]


def _resource(stream: Manifest) -> tuple[str, ...]:
    return resource(str(asked_by(stream).get("path") or "").partition("?")[0])


def _parameters(stream: Manifest) -> Iterator[tuple[str, str]]:
    request = asked_by(stream)
    for part in (request.get("query") or {}, request.get("form") or {}):
        yield from ((name, value) for name, value in part.items() if isinstance(value, str))


def _constants(stream: Manifest, config: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that hang on nothing but the settings."""
    filled = {name: _filled(value, config) for name, value in _parameters(stream)}
    return {name: value for name, value in filled.items() if value}


def _filled(template: str, config: Mapping[str, Any]) -> str | None:
    if not template.startswith("="):
        texts = REFERENCE.findall(template)
        if any(_CHANGING.search(each) for each in texts):
            return None
        return REFERENCE.sub(
            lambda found: str(config.get(found[0][2:-1].strip().removeprefix("config."), "")), template
        )
    if _CHANGING.search(template):
        return None
    try:
        made = expressions.compile_expression(template)({"config": dict(config)})
    except (Mismatch, InvalidManifest):
        return None
    return made if isinstance(made, str) else None


def _value(entry: Entry, name: str) -> str | None:
    return next((value for key, value in (*entry.form, *entry.query) if key == name), None)
