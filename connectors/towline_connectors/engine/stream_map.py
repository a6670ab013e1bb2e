"""What a stream makes of a record, parsed: its entities, keys, columns, filter, tombstone and cursor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from towline.api.manifest import Emit
from towline_connectors import entities
from towline_connectors.engine import expressions, fields, functions, values
from towline_connectors.engine.expressions import ExpressionError, Node
from towline_connectors.engine.fields import FieldMap
from towline_connectors.engine.values import Mismatch
from towline_connectors.entities.model import Entity

T = TypeVar("T")

MAX_KEY = 1000  # characters; what a unique index of either destination holds with room to spare


@dataclass(frozen=True, slots=True)
class EmitMap:
    """One entity of a stream, parsed."""

    entity: Entity
    key: Node
    columns: tuple[FieldMap | None, ...]  # in the order of Entity.fields
    for_each: Node | None
    when: Node | None
    group: FieldMap | None  # the reference that groups rows, for replaceWithin
    keeps_raw: bool
    primary: bool  # what the record is about
    dies: bool  # a tombstone deletes its row


@dataclass(frozen=True, slots=True)
class StreamMap:
    """All that a stream makes of a record, parsed."""

    emits: tuple[EmitMap, ...]
    filter: Node | None
    tombstone: Node | None
    cursor: Node | None
    cursor_kind: str  # "time", "generalized" or "integer"
    ascending: bool


def parse_emit(
    emit: Emit, entity: Entity, override: dict[str, Any], *, keeps_raw: bool, primary: bool, dies: bool | None = None
) -> EmitMap:
    """Raises ExpressionError, its text naming the field."""
    by_name = {f.name: f for f in entity.fields}
    given = {**(emit.fields or {}), **{name: value for name, value in override.items() if name in by_name}}
    for name in given:
        if name not in by_name:
            raise ExpressionError(f"fields: {entity.name} has no field {name}; {entities.near(name, by_name)}")
    maps = {
        name: _at(f".fields.{name}", partial(fields.parse_field, by_name[name], value)) for name, value in given.items()
    }
    group = None
    if emit.replace_within is not None:
        group = maps.get(emit.replace_within)
        if group is None or group.field.type != "ref":
            raise ExpressionError(f"replaceWithin: {emit.replace_within} is no reference field among the fields")
    return EmitMap(
        entity=entity,
        key=_at(".key", partial(expressions.parse, emit.key)),
        columns=tuple(maps.get(f.name) for f in entity.fields),
        for_each=_at(".forEach", partial(expressions.parse, emit.for_each)) if emit.for_each else None,
        when=_at(".when", partial(expressions.parse, emit.when)) if emit.when else None,
        group=group,
        keeps_raw=keeps_raw,
        primary=primary,
        dies=primary if dies is None else dies,
    )


def _at(where: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ExpressionError as error:
        raise ExpressionError(str(error), where) from None


def cursor_value(kind: str) -> Callable[[Any], Any]:
    """The conversion of a stream's cursor to its canonical form."""
    if kind == "integer":
        return values.integer
    return _generalized if kind == "generalized" else values.time


def _generalized(value: Any) -> str | None:
    try:
        return functions.generalized_time(value)
    except Mismatch:
        return values.time(value)


def key_or_fail(key: str | None) -> str:
    """The key. Raises Mismatch where it is none."""
    if key is None:
        raise Mismatch("the key is empty")
    if len(key) > MAX_KEY:
        raise Mismatch(f"the key is longer than {MAX_KEY} characters")
    return key


def is_remembered(emit: EmitMap) -> bool:
    """Whether rows of it that were written already are passed over."""
    return not emit.keeps_raw and emit.group is None
