"""Objects of every shape that a definition lets in, made from its schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CRDS = Path(__file__).parents[1] / "crds"
_DURATIONS = ("30s", "5m", "12h", "7d", "1h30m")
_MATCHES = re.compile(r"self\.matches\('(.*)'\)$")
_QUANTITY = re.compile(r"[1-9][0-9]{0,3}([mkMG]|[KMG]i)?", re.ASCII)
_MORE_KEYS = st.text("abcdefgh", min_size=1, max_size=5)


def specs(plural: str) -> st.SearchStrategy[Any]:
    """Values of `spec` of a kind; rules of CEL about more than one text may still refuse one."""
    schema = yaml.safe_load((CRDS / f"towline.dev_{plural}.yaml").read_text())
    return values(schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a structural schema lets in."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, 100), st.from_regex(_QUANTITY, fullmatch=True))
    match schema.get("type"):
        case "string":
            return _texts(schema)
        case "integer":
            least = schema.get("minimum", -5)
            return st.integers(least, min(schema.get("maximum", least + 100_000), least + 100_000))
        case "number":
            return st.floats(schema.get("minimum", 0), schema.get("maximum", 1000), allow_nan=False)
        case "boolean":
            return st.booleans()
        case "array":
            return _lists(schema)
        case _:
            return _objects(schema)


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    if schema.get("format") == "date-time":
        return st.just("2026-01-01T00:00:00Z")
    if schema.get("format") == "duration":
        return st.sampled_from(_DURATIONS)
    if pattern := schema.get("pattern") or _pattern(schema):
        whole = re.compile(pattern, re.ASCII)
        return st.from_regex(whole, fullmatch=True).filter(lambda text: least <= len(text) <= most)
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=least, max_size=min(most, 40))


def _pattern(schema: dict[str, Any]) -> str:
    """What a text has to match by a rule of CEL; empty if there is none."""
    rules = (rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
    found = next((match for rule in rules if (match := _MATCHES.match(rule))), None)
    return found[1].replace("\\\\", "\\") if found else ""


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
    keys = schema.get("x-kubernetes-list-map-keys")
    unique = (lambda one: tuple(one.get(key) for key in keys)) if keys else None
    if schema.get("x-kubernetes-list-type") == "set":
        unique = repr
    items = values(schema["items"])
    return st.lists(items, min_size=least, max_size=max(least, most), unique_by=unique)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: values(each) for name, each in schema.get("properties", {}).items()}
    if known:
        required = {name: known[name] for name in schema.get("required", [])}
        optional = {name: value for name, value in known.items() if name not in required}
        return st.fixed_dictionaries(required, optional=optional)
    inner = schema.get("additionalProperties")
    of_keys = values(inner) if isinstance(inner, dict) else st.one_of(st.integers(0, 9), st.booleans(), _MORE_KEYS)
    return st.dictionaries(_MORE_KEYS, of_keys, max_size=3)
