"""JSON schemas for editors: the same rules of shape, in the form that YAML language servers read."""

from __future__ import annotations

from typing import Any

from towline.api.base import API_VERSION
from towline.api.kinds import Kind
from towline.api.schema import FREE, INT_OR_STRING, Schema, structural

_DIALECT = "http://json-schema.org/draft-07/schema#"


def editor_schema(kind: Kind) -> dict[str, Any]:
    """The JSON schema of `kind`: unknown fields are marked, apiVersion and kind are completed, status is left out."""
    schema = structural(kind.model, forms_as_rules=False)
    properties = {
        "apiVersion": {"type": "string", "const": API_VERSION},
        "kind": {"type": "string", "const": kind.name},
        "metadata": {"type": "object"},
        "spec": _node(schema["properties"]["spec"]),
        "status": {"type": "object"},
    }
    return {
        "$schema": _DIALECT,
        "title": kind.name,
        "description": schema.get("description", ""),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": properties,
    }


def _node(schema: Schema) -> dict[str, Any]:
    node = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "format"}
    if schema.get(INT_OR_STRING):
        node["type"] = ["integer", "string"]
    if schema.get("format") == "date-time":
        node["format"] = "date-time"
    if "items" in schema:
        node["items"] = _node(schema["items"])
    if "properties" in schema:
        node["properties"] = {name: _node(child) for name, child in schema["properties"].items()}
    if "additionalProperties" in schema:
        node["additionalProperties"] = _node(schema["additionalProperties"])
    elif schema.get("type") == "object" and not schema.get(FREE):
        node["additionalProperties"] = False
    return node
