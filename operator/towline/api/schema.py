"""From a pydantic model to a structural OpenAPI v3 schema, as a CustomResourceDefinition takes it.

Structural means: one type per node, no references, no unions, no `additionalProperties: false` (the API server
prunes or refuses unknown fields by itself). Cross-field rules become CEL; so do patterns, because a CEL rule can
say what is wrong and how to write it, where the API server's own answer to a pattern shows the regular expression.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from towline.api.base import OPAQUE, Model, Rule
from towline.api.forms import FORMS, Form

Schema = dict[str, Any]

RULES = "x-kubernetes-validations"
FREE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
_INT32_MAX = 2**31 - 1
_ORDER = (
    "description", "type", "format", "enum", "default", "minimum", "maximum", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "nullable", INT_OR_STRING, FREE,
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "required", RULES,
    "properties", "items", "additionalProperties",
)  # fmt: skip
_RULE_ORDER = ("rule", "message", "messageExpression", "fieldPath", "reason")


class NotStructuralError(ValueError):
    """A model that no structural schema can describe; the message names the place."""


def structural(model: type[Model], *, forms_as_rules: bool = True, whole: bool = True) -> Schema:
    """The structural schema of `model`, aliases as names, without Kubernetes' own metadata. Raises NotStructuralError.

    With `forms_as_rules` false, patterns stay patterns: editors and the reference read those. With `whole` false,
    what is marked OPAQUE becomes a free object, as in the CustomResourceDefinition.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_WithRules)
    raw.get("properties", {}).pop("metadata", None)
    flat = _Flat(raw.pop("$defs", {}), forms_as_rules=forms_as_rules, whole=whole)
    return flat.node(raw, model.__name__, in_list=False, above=())


def rule_wire(rule: Rule) -> Schema:
    """A rule as it stands in `x-kubernetes-validations`."""
    wire = {
        "rule": rule.rule,
        "message": rule.message,
        "messageExpression": rule.message_expression,
        "fieldPath": rule.field_path,
        "reason": rule.reason,
    }
    return {key: value for key, value in wire.items() if value is not None}


class _WithRules(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model) and model.rules:
            result[RULES] = [rule_wire(rule) for rule in model.rules]
        return result


class _Flat:
    """Walks pydantic's JSON schema and writes the structural one."""

    def __init__(self, definitions: dict[str, Schema], *, forms_as_rules: bool, whole: bool) -> None:
        self._definitions = definitions
        self._forms_as_rules = forms_as_rules
        self._whole = whole

    def node(self, raw: Schema, path: str, *, in_list: bool, above: tuple[str, ...]) -> Schema:
        node, above = self._resolve(raw, path, above)
        node.pop("title", None)
        if node.pop(OPAQUE, False) and not self._whole:
            node = _free(node)
        if "const" in node:
            node["enum"] = [node.pop("const")]
        default = node.pop("default", None)
        if default is not None:
            self._default(node, default, in_list=in_list)
        if "description" in node:
            node["description"] = " ".join(str(node["description"]).split())
        if node.get(INT_OR_STRING) or (node.get(FREE) and node.get("type") != "object"):
            node.pop("type", None)
        elif "type" not in node:
            raise NotStructuralError(f"{path}: no type; use FreeForm where anything may stand")
        if node.get("type") == "integer":
            node["format"] = "int32" if node.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
        if node.get("type") == "number":
            node["format"] = "double"
        if self._forms_as_rules and node.get("pattern") in FORMS:
            pattern = node.pop("pattern")
            rule = _form_rule(FORMS[pattern], pattern, or_int=bool(node.get(INT_OR_STRING)))
            node[RULES] = [rule, *node.get(RULES, [])]
        if RULES in node:
            node[RULES] = [{key: rule[key] for key in _RULE_ORDER if key in rule} for rule in node[RULES]]
        self._children(node, path, in_list=in_list, above=above)
        return {key: node[key] for key in sorted(node, key=_rank)}

    def _children(self, node: Schema, path: str, *, in_list: bool, above: tuple[str, ...]) -> None:
        if "properties" in node:
            node["properties"] = {
                name: self.node(child, f"{path}.{name}", in_list=in_list, above=above)
                for name, child in node["properties"].items()
            }
        if "items" in node:
            node["items"] = self.node(node["items"], f"{path}[]", in_list=True, above=above)
        extra = node.pop("additionalProperties", None)
        node.pop("propertyNames", None)
        if isinstance(extra, dict):
            node["additionalProperties"] = self.node(extra, f"{path}.*", in_list=True, above=above)
        elif extra is True and not node.get(FREE):
            raise NotStructuralError(f"{path}: a map of anything; use FreeObject")

    def _resolve(self, raw: Schema, path: str, above: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Replaces references and nullable unions by what they stand for; what stands nearer to the field wins."""
        node = dict(raw)
        while "$ref" in node or "anyOf" in node or "allOf" in node:
            if "$ref" in node:
                name = node.pop("$ref").rsplit("/", 1)[-1]
                if name in above:
                    raise NotStructuralError(f"{path}: {name} contains itself")
                above = (*above, name)
                node = _merge(self._definitions[name], node)
                continue
            choices = [choice for choice in node.pop("anyOf", None) or node.pop("allOf") if choice != {"type": "null"}]
            if len(choices) == 1:
                node = _merge(choices[0], node)
            elif not (node.get(INT_OR_STRING) or node.get(FREE)):
                raise NotStructuralError(f"{path}: a union; Kubernetes wants one type, IntOrString or FreeForm")
        return node, above

    @staticmethod
    def _default(node: Schema, default: Any, *, in_list: bool) -> None:
        # A default inside a list item makes every `kubectl apply` say "configured", and GitOps tools show drift.
        if not in_list:
            node["default"] = default
            return
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        node["description"] = f"{node.get('description', '')} {shown} if left out.".strip()


def _free(node: Schema) -> Schema:
    """The node as a free object, or a list of them, with no more than its description and its size."""
    kept: Schema = {key: value for key, value in node.items() if key in ("description", "type", "maxItems")}
    if node["type"] == "array":
        return {**kept, "items": {"type": "object", FREE: True}}
    return {**kept, FREE: True}


def _form_rule(form: Form, pattern: str, *, or_int: bool) -> Schema:
    """CEL for one form. `message` stands in when the value itself cannot be shown, for example with a line break."""
    escaped = pattern.replace("\\", "\\\\")
    if "'" in pattern + form.sentence:
        raise NotStructuralError(f"form {form.noun}: no single quotes, they would end the CEL string")
    return {
        "rule": f"{'type(self) == int || ' if or_int else ''}self.matches('{escaped}')",
        "message": form.sentence,
        "messageExpression": f"'\"' + self + '\" is {form.sentence}'",
    }


def _merge(below: Schema, above: Schema) -> Schema:
    rules = [*below.get(RULES, []), *above.get(RULES, [])]
    merged = {**below, **above}
    return {**merged, RULES: rules} if rules else merged


def _rank(key: str) -> int:
    if key not in _ORDER:
        raise NotStructuralError(f"{key} has no place in a CustomResourceDefinition")
    return _ORDER.index(key)
