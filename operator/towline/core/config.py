"""An Integration's config against its Connector's configSchema, with messages for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

MAX_SENTENCES = 4


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Why a configSchema cannot be used; empty when it can."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the root"
        if where.endswith("type"):
            words = f'"{error.instance}" is no type: write string, integer, number, boolean, array or object'
        else:
            words = _short(error.message)
        return f"configSchema is not a JSON schema: {where}: {words}"
    if schema.get("type", "object") != "object":
        return "configSchema has to describe an object (type: object)"
    if any(not str(ref).startswith("#") for ref in _refs(schema)):
        return "configSchema refers to another document by $ref: only references within it (#/…) are followed"
    return ""


def with_defaults(schema: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the schema's defaults where a property is missing, nested objects included."""
    filled = deepcopy(dict(config))
    properties = schema.get("properties")
    for name, below in (properties if isinstance(properties, Mapping) else {}).items():
        if not isinstance(below, Mapping):
            continue
        if name not in filled and "default" in below:
            filled[name] = deepcopy(below["default"])
        if isinstance(filled.get(name), Mapping):
            filled[name] = with_defaults(below, filled[name])
    return filled


def check(schema: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a config, one sentence each; values are never repeated, they might be secrets."""
    # An empty registry: a schema can never make the operator fetch anything.
    validator = Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    try:
        errors = sorted(validator.iter_errors(dict(config)), key=lambda error: [str(p) for p in error.absolute_path])
    except (Unresolvable, SchemaError):
        return ["the configSchema of the connector cannot be followed: tell the connector's administrator"]
    sentences = [sentence for error in errors for sentence in _sentences(error)]
    unique = list(dict.fromkeys(sentences))
    if len(unique) > MAX_SENTENCES:
        return [*unique[:MAX_SENTENCES], f"and {len(unique) - MAX_SENTENCES} more"]
    return unique


def _sentences(error: ValidationError) -> Iterable[str]:
    where = ".".join(["config", *(str(part) for part in error.absolute_path)])
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    bound: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "required":
            present = instance if isinstance(instance, Mapping) else {}
            for name in bound:
                if name not in present:
                    yield f"{where}.{name} is missing{_about(schema, name)}"
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            for name in instance:
                if name not in known:
                    yield f"{where}.{name} is not a setting of this connector{_suggest(str(name), known)}"
        case "type":
            wanted = " or ".join(bound) if isinstance(bound, list) else bound
            yield f"{where} must be of type {wanted}, but is of type {_type(instance)}"
        case "enum":
            yield f"{where} must be one of {', '.join(str(value) for value in bound)}"
        case "const":
            yield f"{where} must be {bound}"
        case "pattern":
            example = schema.get("examples") or [schema.get("default")]
            hint = f", for example {example[0]}" if example and example[0] not in (None, "") else f" ({bound})"
            yield f"{where} does not have the right form{hint}"
        case "format":
            yield f"{where} is not a valid {bound}"
        case "minimum" | "exclusiveMinimum":
            yield f"{where} must be {'at least' if error.validator == 'minimum' else 'more than'} {bound}"
        case "maximum" | "exclusiveMaximum":
            yield f"{where} must be {'at most' if error.validator == 'maximum' else 'less than'} {bound}"
        case "minLength":
            yield f"{where} must not be empty" if bound == 1 else f"{where} must have at least {bound} characters"
        case "maxLength":
            yield f"{where} must have at most {bound} characters"
        case "minItems":
            yield f"{where} must have at least {bound} item{'s' if bound != 1 else ''}"
        case "maxItems":
            yield f"{where} must have at most {bound} items"
        case _:
            yield f"{where} does not fit the connector's configSchema (rule {error.validator})"


def _about(schema: Mapping[str, Any], name: str) -> str:
    below = schema.get("properties", {}).get(name, {})
    if not isinstance(below, Mapping):
        return ""
    text = below.get("description") or below.get("title") or ""
    values = below.get("enum")
    choice = f"one of {', '.join(str(value) for value in values)}" if values else ""
    about = "; ".join(part for part in (_short(str(text)).rstrip("."), choice) if part)
    return f": {about}" if about else ""


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f": did you mean {close[0]}?"
    return f": it has {', '.join(known)}" if known else ": it has none"


def _type(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _refs(node: object) -> Iterable[object]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("$ref", "$dynamicRef"):
                yield value
            yield from _refs(value)
    elif isinstance(node, list):
        for item in node:
            yield from _refs(item)
