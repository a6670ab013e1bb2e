"""Our part of CEL: every rule of the models can be evaluated, and values come out as CEL's would."""

from collections.abc import Iterator
from typing import Any

import pytest

from towline.api import cel
from towline.api.base import cel_seconds
from towline.api.generate import root_schema
from towline.api.kinds import KINDS
from towline.api.schema import RULES, Schema


def rules(schema: Schema) -> Iterator[Schema]:
    yield from schema.get(RULES, [])
    for child in schema.get("properties", {}).values():
        yield from rules(child)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from rules(schema[key])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_rule_of_the_models_is_understood(kind: Any) -> None:
    for rule in rules(root_schema(kind)):
        cel.understand(rule["rule"])
        cel.understand(rule.get("messageExpression", "true"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4", 3),
        ("(1 + 2) * 3", 9),
        ("true ? 'a' : 'b'", "a"),
        ("false ? 1 : true ? 2 : 3", 2),
        ("!false && (false || true)", True),
        ("has(self.a)", True),
        ("has(self.a.b)", True),
        ("has(self.x)", False),
        ("!has(self.x) || self.x.y == 1", True),
        ("size(self.name) <= 3 && self.name.size() == 3", True),
        ("self.name.contains('b') && self.name.startsWith('a') && self.name.endsWith('c')", True),
        ("self.name.matches('^a.c$')", True),
        ("'abc\n'.matches('^abc$')", False),
        ("self.list.all(x, x > 0)", True),
        ("self.list.exists(x, x == 2) && 2 in self.list", True),
        ("self.list.map(x, x * 2)", [2, 4, 6]),
        ("self.list.filter(x, x > 1)[0]", 2),
        ("self.labels.all(k, k != 'c')", True),
        ("type(self.number) == int || self.number.matches('a')", True),
        ("'it\\'s ' + string(1)", "it's 1"),
        ('"a" + "b"', "ab"),
        ("int(self.text.substring(0, size(self.text) - 1))", 12),
    ],
)
def test_expression_has_the_value_of_cel(expression: str, value: object) -> None:
    variables = {
        "self": {"a": {"b": 1}, "name": "abc", "list": [1, 2, 3], "labels": {"a": 1}, "number": 1, "text": "12h"}
    }
    assert cel.evaluate(expression, variables) == value


@pytest.mark.parametrize(("duration", "seconds"), [("60s", 60), ("1d12h", 129600), ("7d", 604800), ("5m30s", 330)])
def test_durations_are_counted_in_seconds(duration: str, seconds: int) -> None:
    assert cel.evaluate(cel_seconds("self"), {"self": duration}) == seconds


@pytest.mark.parametrize("expression", ["1 +", "a ~ b", "self.x.unknown()", "nothing()", "(1", "1 2", "self.a.", "[1"])
def test_what_is_not_understood_is_an_error(expression: str) -> None:
    with pytest.raises(cel.CelError):
        cel.evaluate(expression, {"self": {"x": "a", "a": {}}})
