"""Settings and credentials that stand in where a recording or a simulator needs none in particular."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from towline.api.connector import ConnectorSpec

_REFERENCE = re.compile(r"\$\{\s*(config|secret)\.([A-Za-z_]\w*)(?:\.(\w+))?[^}]*\}")
_ANY_REFERENCE = re.compile(r"\$\{[^}]*\}")
# Texts that real settings look like; the first that fits the schema is taken.
_TEXTS = (
    "example", "example.com", "https://example.com", "ldaps://example.com", "00000000-0000-4000-8000-000000000000",
    "us-east-1", "eu", "us", "123456789012", "1000", "2026-01-01", "2026-01-01T00:00:00Z", "user@example.com",
    "EXAMPLE", "arn:aws:iam::123456789012:role/example", "1d", "/example", "example/example", "dc=example,dc=com",
)  # fmt: skip


def settings(
    spec: ConnectorSpec, given: Mapping[str, Any], guesses: Mapping[str, Iterable[str]] | None = None
) -> dict[str, Any]:
    """`given`, the schema's defaults, and something that fits for what is needed beyond: a value of `guesses` (by
    setting) if one fits the schema, else a made-up one. ValueError names a setting for which nothing fits."""
    schema = spec.config_schema or {}
    properties = schema.get("properties") or {}
    filled = with_defaults(spec, given)
    manifest = spec.wire()
    mentioned = {key for _place, text in texts(manifest) for kind, key, _m in references(text) if kind == "config"}
    for name in dict.fromkeys([*(schema.get("required") or []), *sorted(mentioned)]):
        if filled.get(name) is None and name in properties:
            filled[name] = _fitting(name, properties[name], (guesses or {}).get(name, ()))
    return filled


def with_defaults(spec: ConnectorSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` and the schema's defaults."""
    filled = dict(given)
    for name, below in ((spec.config_schema or {}).get("properties") or {}).items():
        if name not in filled and "default" in below:
            filled[name] = deepcopy(below["default"])
    return filled


def secrets(spec: ConnectorSpec) -> dict[str, str]:
    """A value for each credential that is not optional or that http.auth asks for; a JSON document where members of
    it are read."""
    members: dict[str, set[str]] = {}
    for _place, text in texts(spec.wire()):
        for kind, key, member in references(text):
            if kind == "secret":
                members.setdefault(key, set()).update({member} - {""})
    auth = spec.http.auth.wire() if spec.http is not None and spec.http.auth is not None else {}
    asked = {key for _place, text in texts(auth) for kind, key, _member in references(text) if kind == "secret"}
    made = {}
    for credential in spec.credentials or []:
        wanted = members.get(credential.key, set())
        if credential.optional and credential.key not in asked:
            continue
        made[credential.key] = json.dumps(dict.fromkeys(sorted(wanted), "replayed")) if wanted else "replayed"
    return made


def references(text: str) -> list[tuple[str, str, str]]:
    """(config or secret, key, member) of each reference in a text."""
    return [(kind, key, member) for kind, key, member in _REFERENCE.findall(text)]


def texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Each string in a manifest with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from texts(member, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            name = member.get("name") if isinstance(member, Mapping) else None
            yield from texts(member, f"{place}[{name or number}]")


def guessed(templates: Iterable[str], urls: Iterable[str]) -> dict[str, list[str]]:
    """What settings would have to be for URL templates (`https://${config.host}/api`) to give recorded URLs."""
    found: dict[str, list[str]] = {}
    known = list(dict.fromkeys(urls))
    for template in dict.fromkeys(templates):
        names: list[str] = []
        pattern = "".join(
            _pattern(piece, names) if number % 2 else re.escape(piece)
            for number, piece in enumerate(re.split(f"({_ANY_REFERENCE.pattern})", template))
        )
        if not names:
            continue
        for url in known:
            matched = re.fullmatch(pattern, url)
            for name, value in zip(names, matched.groups() if matched else (), strict=False):
                if value not in found.setdefault(name, []):
                    found[name].append(value)
    return found


def _pattern(reference: str, names: list[str]) -> str:
    matched = _REFERENCE.fullmatch(reference)
    if matched is None or matched[1] != "config" or matched[2] in names:
        return "[^?#]*?"
    names.append(matched[2])
    # A setting at the beginning is the whole address; elsewhere it is a host or a part of a path.
    return r"((?:https?://)?[^/?#]+(?:/[^?#]*?)?)" if matched[2].endswith(("url", "URL")) else "([^/?#]+)"


def _fitting(name: str, schema: Mapping[str, Any], guesses: Iterable[str]) -> Any:
    candidates: list[Any] = list(guesses)
    if "const" in schema:
        candidates.append(schema["const"])
    candidates += [*(schema.get("examples") or []), *(schema.get("enum") or [])]
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    candidates += [
        *_TEXTS,
        *(letter * size for letter in "0aA" for size in range(1, 65)),
        low,
        low + 1,
        1,
        True,
        [],
        {},
    ]
    below = schema.get("items")
    if isinstance(below, Mapping) and schema.get("type") == "array":
        candidates.append([_fitting(name, below, ())])
    try:
        validator = Draft202012Validator(schema)
        for value in candidates:
            if validator.is_valid(value):
                return value
    except (SchemaError, TypeError, re.error):
        pass
    raise ValueError(name)
