"""One field of an emitted entity: from a manifest's value to Python that yields the column's value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towline_connectors.engine import expressions, values
from towline_connectors.engine.expressions import ExpressionError, Node, Writer
from towline_connectors.engine.values import Mismatch
from towline_connectors.entities.model import Field

# Functions whose results need no conversion for a column of that type.
_RESULTS = {
    "time": {"ts", "filetime", "generalized_time"},
    "integer": {"int", "epoch"},
    "number": {"float"},
    "text": {"str", "lower", "upper", "trim", "sha", "guid", "sid"},
    "ref": {"str", "lower", "upper", "trim", "sha", "guid", "sid"},
    "texts": {"ips", "macs", "texts", "split"},
    "boolean": {"bool", "bitand", "contains", "starts_with", "ends_with"},
}
_TEXT = (
    "({v} or None) if {v}.__class__ is str else {v} if {v} is None else str({v}) if {v}.__class__ is int else {f}({v})"
)
_INLINE = {
    "text": _TEXT,
    "ref": _TEXT,
    "integer": "{v} if {v} is None or ({v}.__class__ is int and -0x7fffffffffffffff <= {v} <= 0x7fffffffffffffff)"
    " else {f}({v})",
    "number": "{v} if {v} is None or ({v}.__class__ is float and {v} - {v} == 0.0) else {f}({v})",
    "boolean": "{v} if {v} is True or {v} is False or {v} is None else {f}({v})",
}
_CALL = "None if {v} is None else {f}({v})"
# ISO 8601 as most systems write it, and as it is stored: checked, not rewritten.
STORED_TIME = (
    "{v} if {v}.__class__ is str and len({v}) == 24 and {v}[10::9] == 'T.' and {v}[23] == 'Z'"
    " and fromiso({v}) else {f}({v})"
)


@dataclass(frozen=True, slots=True)
class FieldMap:
    """How a column gets its value: an expression, perhaps looked up in `table`, or a constant."""

    field: Field
    tree: Node | None = None
    table: dict[str, Any] | None = None
    default: Any = None  # converted already


def convert(field: Field, value: Any) -> Any:
    """A constant of the manifest as the column takes it. Raises ExpressionError."""
    try:
        return values.CONVERTERS[field.type](value)
    except Mismatch as error:
        raise ExpressionError(f"field {field.name} is of type {field.type}: {error}") from None


def parse_field(field: Field, given: Any) -> FieldMap:
    """A field as a manifest gives it: "=expression", a number, {from, map, default}, {ref, key} or {value}.

    Raises ExpressionError with what to write instead."""
    if isinstance(given, str):
        if not given.startswith("="):
            raise ExpressionError(
                f"`{given}` is neither an expression nor a constant; write ={given} to read it from"
                f" the record, or {{value: {given}}} for the text itself"
            )
        return FieldMap(field, expressions.parse(given))
    if not isinstance(given, dict):
        return FieldMap(field, default=convert(field, given))
    keys = set(given)
    if keys == {"value"}:
        return FieldMap(field, default=convert(field, given["value"]))
    if keys == {"ref", "key"}:
        if field.type != "ref" or field.ref not in (None, given["ref"]):
            takes = f"refers to {field.ref}" if field.type == "ref" else f"is of type {field.type}"
            raise ExpressionError(f"field {field.name} {takes}, not to {given['ref']}")
        return FieldMap(field, expressions.parse(str(given["key"])))
    if "from" in keys and keys <= {"from", "map", "default"}:
        table = _table(field, given["map"]) if "map" in keys else None
        return FieldMap(field, expressions.parse(str(given["from"])), table, convert(field, given.get("default")))
    raise ExpressionError(
        f"field {field.name} takes an expression, a constant, {{from, map, default}}, {{ref, key}} or {{value}};"
        f" it has {', '.join(sorted(map(str, keys))) or 'nothing'}"
    )


def _table(field: Field, given: Any) -> dict[str, Any]:
    if given == "enum":  # the field's own captions
        given = {caption: number for number, caption in field.enum}
    if not isinstance(given, dict) or not given:
        raise ExpressionError(f"map of field {field.name} needs at least one entry")
    table = {str(key).lower(): convert(field, value) for key, value in given.items()}
    table.update({str(key): convert(field, value) for key, value in given.items()})
    if "True" in table or "False" in table:  # unquoted keys of YAML are booleans
        table.update({key.lower(): value for key, value in table.items() if key in ("True", "False")})
    return table


def look_up(table: dict[str, Any], value: Any, fallback: Any) -> Any:
    """A table's entry for a value: exact, else whatever the case; `fallback` if there is none."""
    key = values.text(value) if not isinstance(value, (dict, list)) else None
    if key is None:
        return fallback
    found = table.get(key, _ABSENT)
    return table.get(key.lower(), fallback) if found is _ABSENT else found


_ABSENT = object()


def write_tree(writer: Writer, kind: str, tree: Node, root: str) -> str:
    """Write an expression and its conversion to a column of that type; returns the atom."""
    atom = writer.value(tree, root)
    if expressions.function_name(tree) in _RESULTS.get(kind, ()) or atom == "None":
        return atom
    if kind == "boolean" and (tree["type"] == "not_expression" or tree.get("value") in ("eq", "ne")):
        return atom
    atom = writer.named(atom)
    pattern = _INLINE.get(kind, _CALL)
    function = writer.function(values.CONVERTERS[kind])
    if kind == "time":
        return write_time(writer, atom)
    return writer.bind(f"{kind}({atom})", pattern.format(v=atom, f=function))


def write_text(writer: Writer, atom: str) -> str:
    """Write the conversion of an atom to text."""
    function = writer.function(values.text)
    return writer.bind(f"text({atom})", _TEXT.format(v=writer.named(atom), f=function))


def write_time(writer: Writer, atom: str) -> str:
    """Write the conversion of an atom to stored time."""
    function = writer.function(values.time)
    writer.globals["fromiso"] = datetime.fromisoformat
    return writer.bind(f"time({atom})", STORED_TIME.format(v=writer.named(atom), f=function))


def write_field(writer: Writer, one: FieldMap, root: str) -> str:
    """Write a field; returns the atom that holds the column's value."""
    if one.tree is None:
        return writer.constant(one.default)
    if one.table is not None:
        atom = writer.value(one.tree, root)
        table, fallback = writer.constant(one.table), writer.constant(one.default)
        atom = writer.named(atom)
        general = f"{writer.function(look_up)}({table}, {atom}, {fallback})"
        return writer.bind(
            f"{table}[{atom}]", f"{table}[{atom}] if {atom}.__class__ is str and {atom} in {table} else {general}"
        )
    atom = write_tree(writer, one.field.type, one.tree, root)
    if one.default is None:
        return atom
    return writer.bind(f"default({atom})", f"{writer.constant(one.default)} if {atom} is None else {atom}")


def evaluate(one: FieldMap, root: Any) -> Any:
    """The same without generated code, for explaining why a record does not map."""
    if one.tree is None:
        return one.default
    found = expressions.interpret(one.tree, root)
    if one.table is not None:
        return look_up(one.table, found, one.default)
    converted = values.CONVERTERS[one.field.type](found)
    return one.default if converted is None else converted
