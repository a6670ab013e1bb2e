"""The generator: what it writes is structural, bounded, small and up to date."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field

from towline.api import generate
from towline.api.base import OPAQUE, Duration, FreeForm, IntOrString, Model, Quantity, Rule
from towline.api.forms import FORMS
from towline.api.kinds import KINDS, Kind
from towline.api.schema import FREE, INT_OR_STRING, RULES, NotStructuralError, Schema, structural

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "connectors" / "towline_connectors" / "catalogue"
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Every node below `schema`: its path, itself, and whether it lies in a list or a map."""
    stack: list[tuple[str, Schema, bool]] = [(path, schema, False)]
    while stack:
        here, node, repeated = stack.pop()
        yield here, node, repeated
        stack += [(f"{here}.{name}", child, repeated) for name, child in node.get("properties", {}).items()]
        if "items" in node:
            stack.append((f"{here}[]", node["items"], True))
        if "additionalProperties" in node:
            stack.append((f"{here}.*", node["additionalProperties"], True))


def test_generated_files_are_what_the_models_say() -> None:
    for path, text in generate.files(ROOT / "crds", ROOT / "docs" / "reference").items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: run `make generate`"


def test_check_fails_and_writes_nothing_when_a_file_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crds, docs = tmp_path / "crds", tmp_path / "docs"
    assert generate.main([str(crds), str(docs)]) == 0
    assert generate.main([str(crds), str(docs), "--check"]) == 0
    changed = crds / "towline.dev_syncjobs.yaml"
    changed.write_text("something else", encoding="utf-8")

    assert generate.main([str(crds), str(docs), "--check"]) == 1

    assert "towline.dev_syncjobs.yaml differs from the models: run `make generate`" in capsys.readouterr().err
    assert changed.read_text(encoding="utf-8") == "something else"


@EVERY_KIND
def test_definition_fits_into_an_annotation(kind: Kind) -> None:
    path = ROOT / "crds" / f"towline.dev_{kind.plural}.yaml"
    assert path.stat().st_size < generate.MAX_BYTES
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == generate.crd(kind)


@EVERY_KIND
def test_schema_is_structural(kind: Kind) -> None:
    for path, node, _ in nodes(generate.root_schema(kind)):
        assert not {"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const"} & node.keys(), path
        assert "type" in node or node.get(FREE) or node.get(INT_OR_STRING), path
        assert not isinstance(node.get("additionalProperties"), bool), path


@EVERY_KIND
def test_every_text_list_and_map_of_a_spec_has_a_bound(kind: Kind) -> None:
    for path, node, _ in nodes(generate.root_schema(kind)["properties"]["spec"], "spec"):
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node or node.get("format") == "date-time", path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@EVERY_KIND
def test_nothing_inside_a_list_or_a_map_has_a_default(kind: Kind) -> None:
    assert [path for path, node, repeated in nodes(generate.root_schema(kind)) if repeated and "default" in node] == []


@EVERY_KIND
def test_every_pattern_of_a_spec_answers_with_a_sentence(kind: Kind) -> None:
    spec = structural(kind.model, forms_as_rules=False)["properties"]["spec"]
    patterns = {path: node["pattern"] for path, node, _ in nodes(spec, "spec") if "pattern" in node}
    assert {path: pattern for path, pattern in patterns.items() if pattern not in FORMS} == {}


@EVERY_KIND
def test_no_rule_speaks_in_code(kind: Kind) -> None:
    for path, node, _ in nodes(generate.root_schema(kind)):
        for rule in node.get(RULES, []):
            assert rule.get("message") or rule.get("messageExpression"), f"{path}: {rule['rule']}"


@EVERY_KIND
def test_every_field_is_described(kind: Kind) -> None:
    """`kubectl explain`, editors and the reference have nothing else to show."""
    for path, node, _ in nodes(generate.root_schema(kind)):
        for name, child in node.get("properties", {}).items():
            if path.startswith((".spec", ".status")):  # the rest is Kubernetes' own
                assert child.get("description"), f"{path}.{name}"


@EVERY_KIND
def test_editors_schema_is_one_and_marks_unknown_fields(kind: Kind) -> None:
    schema = json.loads((ROOT / "crds" / "schemas" / f"{kind.name.lower()}.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    document = {"apiVersion": "towline.dev/v1alpha1", "kind": kind.name, "metadata": {}, "spec": {"shedule": 1}}

    problems = [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)]

    assert any("'shedule' was unexpected" in problem for problem in problems)


@pytest.mark.parametrize("path", sorted(CATALOGUE.rglob("connector.yaml")), ids=lambda path: path.parent.name)
def test_editors_schema_takes_bundled_connectors(path: Path) -> None:
    schema = json.loads((ROOT / "crds" / "schemas" / "connector.json").read_text(encoding="utf-8"))

    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_first_status_waits_for_the_operator() -> None:
    for kind in KINDS:
        status = generate.root_schema(kind)["properties"]["status"]
        assert status["default"]["observedGeneration"] == -1
        assert status["default"]["conditions"][0]["status"] == "Unknown"
        assert status["default"]["conditions"][0]["type"] == kind.summary


class Inner(Model):
    """An inner object."""

    mode: Literal["A", "B"] = "A"
    age: Duration | None = None


class Outer(Model):
    rules: ClassVar = (Rule("has(self.one)", "give one", field_path=".one", reason="FieldValueRequired"),)

    one: Inner | None = Field(default=None, description="The one.")
    many: list[Inner] | None = Field(default=None, max_length=3)
    anything: FreeForm | None = None
    number: IntOrString | None = None
    cpu: Quantity | None = None
    count: int = Field(default=3, ge=0, le=9)
    big: int | None = None


def test_model_becomes_a_schema() -> None:
    schema = structural(Outer)
    one, many = schema["properties"]["one"], schema["properties"]["many"]

    assert schema[RULES] == [
        {"rule": "has(self.one)", "message": "give one", "fieldPath": ".one", "reason": "FieldValueRequired"}
    ]
    assert "required" not in schema
    assert one["description"] == "The one."
    assert one["properties"]["mode"] == {"type": "string", "enum": ["A", "B"], "default": "A"}
    assert many["items"]["description"] == "An inner object."
    assert many["items"]["properties"]["mode"]["description"] == "A if left out."
    assert schema["properties"]["anything"] == {FREE: True}
    assert schema["properties"]["number"] == {INT_OR_STRING: True}
    assert schema["properties"]["count"] == {
        "type": "integer", "format": "int32", "default": 3, "minimum": 0, "maximum": 9,
    }  # fmt: skip
    assert schema["properties"]["big"] == {"type": "integer", "format": "int64"}


def test_pattern_becomes_a_rule_that_shows_value_and_cure() -> None:
    age = structural(Outer)["properties"]["one"]["properties"]["age"]

    assert "pattern" not in age
    assert age[RULES] == [
        {
            "rule": "self.matches('^([0-9]{1,4}(s|m|h|d))+$')",
            "message": "not a duration: write for example 30m, 6h or 7d",
            "messageExpression": "'\"' + self + '\" is not a duration: write for example 30m, 6h or 7d'",
        }
    ]
    assert structural(Outer)["properties"]["cpu"][RULES][0]["rule"].startswith("type(self) == int || self.matches(")


class Union(Model):
    value: int | str


class Loop(Model):
    child: "Loop | None" = None


class Loose(Model):
    labels: dict[str, Any]


@pytest.mark.parametrize(
    ("model", "place"),
    [(Union, "Union.value: a union"), (Loop, "Loop contains itself"), (Loose, "Loose.labels: a map of anything")],
)
def test_what_kubernetes_cannot_take_is_named(model: type[Model], place: str) -> None:
    with pytest.raises(NotStructuralError, match=place):
        structural(model)


def test_text_without_a_form_keeps_its_pattern() -> None:
    class Plain(Model):
        code: Annotated[str, Field(max_length=3, pattern="^[A-Z]+$")]

    assert structural(Plain)["properties"]["code"]["pattern"] == "^[A-Z]+$"


def test_reference_shows_types_bounds_defaults_and_rules() -> None:
    page = (ROOT / "docs" / "reference" / "integration.md").read_text(encoding="utf-8")

    assert "| `interval` | duration |" in page
    assert "| `suspend` | boolean | `false` |" in page
    assert "| `connectorRef` | [object](#specconnectorref) | **required** |" in page
    assert "| `streams` | list by name (1 to 50) of [object](#specstreams) |" in page
    assert "- set exactly one of cron and interval" in page


def test_what_is_opaque_is_free_in_the_definition_and_whole_elsewhere() -> None:
    class Inner(Model):
        deep: str

    class Outer(Model):
        one: Inner | None = Field(default=None, description="One.", json_schema_extra={OPAQUE: True})
        many: list[Inner] | None = Field(default=None, max_length=3, json_schema_extra={OPAQUE: True})

    served = structural(Outer, whole=False)["properties"]
    assert served["one"] == {"description": "One.", "type": "object", FREE: True}
    assert served["many"] == {"type": "array", "maxItems": 3, "items": {"type": "object", FREE: True}}
    whole = structural(Outer)["properties"]
    assert whole["one"]["properties"] == {"deep": {"type": "string"}}
    assert whole["many"]["items"]["required"] == ["deep"]
