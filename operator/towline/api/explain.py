"""Pydantic's errors as sentences for people: where it is, what is wrong, how to write it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from towline.api.forms import FORMS
from towline.api.schema import FREE, INT_OR_STRING, Schema, structural

_SHOWN = 60


def explain(error: ValidationError, source: str = "", at: str = "") -> list[str]:
    """One sentence per problem, each with its path: `spec.schedule.interval: "1 hour" is not a duration: …`.

    `source` is what was read, for example a file; `at` is the path of the validated part, for example `spec`.
    """
    schema = _schema(error.title)
    sentences: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        path, parts, node = _place(problem["loc"], schema)
        above = _walk(schema, parts[:-1])
        where = "".join((at, "." if at and path and not path.startswith("[") else "", path))
        # A union of types reports one problem per type; together they are one.
        sentences.setdefault(where, _words(problem, node, above))
    prefix = f"{source}: " if source else ""
    return [f"{prefix}{where}: {words}" if where else f"{prefix}{words}" for where, words in sentences.items()]


def path_text(parts: Sequence[str | int]) -> str:
    """`spec.streams[0].name`; keys that are no plain names stand in brackets, as in `labels["a/b"]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum():
            text += f".{part}"
        else:
            text += f'["{part}"]'
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as it may stand in a sentence: on one line and short."""
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in str(value))
    text = text.replace("\\x0a", "\\n").replace("\\x09", "\\t")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


@cache
def _schema(title: str) -> Schema:
    # Imported when there is an error to explain: a sync's pod needs the models of one kind only, and starts fast.
    from towline.api.kinds import KINDS

    for kind in KINDS:
        if kind.name == title:
            schema = structural(kind.model, forms_as_rules=False)
            schema["properties"]["metadata"] = {FREE: True}
            return schema
        for field in kind.model.model_fields.values():
            part = field.annotation
            if isinstance(part, type) and issubclass(part, BaseModel) and part.__name__ == title:
                whole: Schema = structural(kind.model, forms_as_rules=False)
                return dict(whole["properties"][field.alias or "spec"])
    return {}


def _place(location: Sequence[str | int], schema: Schema) -> tuple[str, list[str | int], Schema]:
    """The path without the names that pydantic gives to the members of a union, and the schema of what stands there."""
    parts: list[str | int] = []
    node = schema
    for part in location:
        if node.get(INT_OR_STRING) or (node.get(FREE) and not _child(node, part)):
            break
        parts.append(part)
        node = _child(node, part)
    return path_text(parts), parts, node


def _walk(schema: Schema, parts: Sequence[str | int]) -> Schema:
    for part in parts:
        schema = _child(schema, part)
    return schema


def _child(node: Schema, part: str | int) -> Schema:
    if isinstance(part, int):
        return dict(node.get("items", {}))
    properties = node.get("properties", {})
    if part in properties:
        return dict(properties[part])
    return dict(node.get("additionalProperties", {}))


def _words(problem: ErrorDetails, node: Schema, above: Schema) -> str:
    kind, given = problem["type"], problem["input"]
    context: Mapping[str, Any] = problem.get("ctx", {})
    if kind == "missing":
        return "it is missing: add it"
    if kind == "extra_forbidden":
        return _unknown(str(problem["loc"][-1]), above)
    if kind == "value_error":
        return shown_error(context.get("error", problem["msg"]))
    if given == "" and kind == "string_too_short":
        return "it must not be empty"
    if node.get("pattern") in FORMS and not node.get(INT_OR_STRING) and not isinstance(given, Mapping | list):
        return FORMS[node["pattern"]].refuse(shown(given))
    if kind == "literal_error":
        return _not_allowed(given, [str(value) for value in node.get("enum", [])], str(context.get("expected", "")))
    if kind == "string_pattern_mismatch":
        return f'"{shown(given)}" does not fit {context["pattern"]}'
    if kind.endswith("_type"):
        return _wrong_type(kind, given, node)
    return _out_of_bounds(kind, given, context) or str(problem["msg"])


def shown_error(error: object) -> str:
    """The words of a validator's own error, which are already a sentence."""
    return " ".join(str(error).split())


def _unknown(name: str, above: Schema) -> str:
    known = list(above.get("properties", {}))
    close = difflib.get_close_matches(name.lower(), [field.lower() for field in known], n=1, cutoff=0.7)
    if close:
        meant = next(field for field in known if field.lower() == close[0])
        return f'there is no such field; did you mean "{meant}"?'
    return f"there is no such field; known are {_listed(known)}" if known else "there is no such field: remove it"


def _not_allowed(given: Any, allowed: list[str], expected: str) -> str:
    words = _listed(allowed, "or") if allowed else expected
    same = [value for value in allowed if value.lower() == str(given).lower()]
    text = str(given).lower() if isinstance(given, bool) else f'"{shown(given)}"'
    if not same and allowed:
        same = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.85)
    return f"{text} is not allowed: write {same[0] if same else words}"


def _listed(values: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(values[:-1])} {last} {values[-1]}" if len(values) > 1 else "".join(values)


_WANTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


def _wrong_type(kind: str, given: Any, node: Schema) -> str:
    wanted = "a text or a whole number" if node.get(INT_OR_STRING) else _WANTED.get(kind, "something else")
    cure = _cure(wanted, given)
    if not cure and (form := FORMS.get(str(node.get("pattern")))) and given is not None:
        cure = f": {form.cure}"
    if not cure and wanted == "an object" and node.get("properties"):
        cure = f": its fields are {_listed(list(node['properties']))}"
    return f"it must be {wanted}, and is {_given(given)}{cure}"


def _given(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f'the text "{shown(value)}"' if isinstance(value, str) else f"the number {shown(value)}"


def _cure(wanted: str, given: Any) -> str:
    if wanted.startswith("a text") and isinstance(given, bool):
        return ": put it in quotes (YAML reads a bare yes, no, on or off as true or false)"
    if wanted.startswith("a text") and isinstance(given, int | float):
        return ": put it in quotes"
    if given is None:
        return ": give it a value, or remove the line"
    if wanted == "a whole number" and isinstance(given, str) and given.isdigit():
        return ": write it without quotes"
    if wanted in ("a whole number", "a number"):
        digits = re.match(r"\d+", str(given))
        return f": write {digits[0]} alone" if digits else ": write digits alone"
    if wanted == "true or false" and isinstance(given, str):
        return ": write true or false without quotes"
    if wanted == "a list" and not isinstance(given, Mapping | list) and given is not None:
        return f": write [{shown(given)}]"
    return ""


def _out_of_bounds(kind: str, given: Any, context: Mapping[str, Any]) -> str:
    if kind == "string_too_short":
        few = int(context["min_length"])
        return "it must not be empty" if few == 1 else f"it needs at least {few} characters"
    if kind == "string_too_long":
        return f"it may have at most {context['max_length']} characters, and has {len(str(given))}"
    if kind == "too_short":
        return f"it needs at least {_count(int(context['min_length']))}"
    if kind == "too_long":
        return f"it may have at most {_count(int(context['max_length']))}, and has {len(given)}"
    if kind == "greater_than_equal":
        return f"it must be at least {context['ge']}, and is {shown(given)}"
    if kind == "less_than_equal":
        return f"it must be at most {context['le']}, and is {shown(given)}"
    return ""


def _count(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"
