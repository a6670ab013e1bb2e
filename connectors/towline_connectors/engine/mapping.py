"""From records to rows: one generated function for each stream, which looks at each record once.

A record maps as a whole or is rejected as a whole, with the reason; it never stops the run by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from zlib import crc32

import orjson
from xxhash import xxh3_64_intdigest

from towline.api.manifest import Emit
from towline_connectors import entities
from towline_connectors.engine import expressions, fields, functions, values
from towline_connectors.engine.expressions import ExpressionError, Node, Writer
from towline_connectors.engine.fields import FieldMap
from towline_connectors.engine.values import Mismatch
from towline_connectors.entities.model import Entity
from towline_connectors.sinks.base import Replacement

T = TypeVar("T")

MAX_KEY = 1000  # characters; what a unique index of either destination holds with room to spare
SEEN_ROWS = 20_000  # rows of each entity remembered, so that the same asset in each finding is written once

Row = tuple[Any, ...]


@dataclass(slots=True)
class Output:
    """What a number of records became. `rows` are by entity, then by key: the last of a key counts."""

    rows: dict[str, dict[str, Row]]
    tombstones: dict[str, list[str]] = field(default_factory=dict)
    replacements: list[Replacement] = field(default_factory=list)
    rejected: list[tuple[str | None, str, bytes]] = field(default_factory=list)
    read: int = 0
    size: int = 0  # bytes of raw JSON


@dataclass(slots=True)
class Cursor:
    """The highest cursor value so far, canonical: ISO 8601 text, or an int for `format: Integer`."""

    top: Any
    limit: Any  # not beyond it: a record dated in the future must not hide all that come after
    ordered: bool = True  # whether values never fell
    first: Any = None  # of the first record that has one; known where records come in the cursor's order

    def join(self, following: Cursor) -> None:
        """Go on to the end of a piece that was looked at by itself."""
        rises = following.first is None or following.first >= self.top
        self.ordered = self.ordered and following.ordered and rises
        self.top = max(self.top, following.top)


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


_FIELD_ITEM: Node = {"type": "field", "children": [], "value": "item"}
_FIELD_RECORD: Node = {"type": "field", "children": [], "value": "record"}


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


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    raise TypeError


def raw_json(record: Any) -> bytes:
    """A record as it is kept. Bytes of directories become text, or hex digits."""
    try:
        return orjson.dumps(record, default=_plain)
    except orjson.JSONEncodeError:
        return b"null"


class Mapper:
    """Maps the records of one stream in one run."""

    def __init__(self, stream: StreamMap, limit: Any = None) -> None:
        """`limit`: see Cursor."""
        self.stream = stream
        self.seen: list[dict[str, int]] = [{} for _ in stream.emits]
        """For each emit what was written last of a key: such a row is passed over when it comes again."""
        self.skipped: list[set[str]] = [set() for _ in stream.emits]
        """Keys that were passed over, once `watch` was called."""
        self._run = _generate(stream)
        self._integer = stream.cursor_kind == "integer"
        self._limit = (values.INT_MAX if self._integer else "9999") if limit is None else limit
        self.cursor = self.start()

    def start(self) -> Cursor:
        """A cursor that has seen nothing."""
        return Cursor(values.INT_MIN if self._integer else "", self._limit)

    def watch(self) -> None:
        """From now on, note which keys are passed over."""
        self._run = _generate(self.stream, watch=True)

    def output(self) -> Output:
        return Output({emit.entity.name: {} for emit in self.stream.emits})

    def map(self, records: list[Any], raws: list[bytes] | None, scan_id: str | None, out: Output) -> None:
        """Add what the records become to `out`; moves `cursor`."""
        tables = tuple(out.rows[emit.entity.name] for emit in self.stream.emits)
        for seen in self.seen:
            if len(seen) > SEEN_ROWS:
                seen.clear()

        def reject(record: Any, error: Exception) -> None:
            out.rejected.append((self._key(record), self._explain(record, error), raw_json(record)))

        out.size += self._run(
            records, raws, scan_id, tables, self.seen, self.skipped, self.cursor, out.tombstones, out.replacements,
            reject,
        )  # fmt: skip
        out.read += len(records)

    def _key(self, record: Any) -> str | None:
        for emit in self.stream.emits:
            if emit.primary and emit.for_each is None:
                try:
                    return values.text(expressions.interpret(emit.key, record))
                except Exception:
                    return None
        return None

    def _explain(self, record: Any, error: Exception) -> str:
        if not isinstance(record, dict):
            return f"the record is not an object but {values.shown(record)}"
        if self.stream.cursor is not None:
            try:
                cursor_value(self.stream.cursor_kind)(expressions.interpret(self.stream.cursor, record))
            except Exception as found:
                return f"sync.cursor: {_short(found)}"
        for emit in self.stream.emits:
            name = emit.entity.name
            for root in _roots(emit, record):
                steps: list[tuple[str, Callable[[], Any]]] = [("key", partial(_checked_key, emit, root))]
                steps += [(o.field.name, partial(fields.evaluate, o, root)) for o in emit.columns if o is not None]
                for what, step in steps:
                    try:
                        step()
                    except Exception as found:
                        return f"{name}.{what}: {_short(found)}"
        return _short(error)


def _roots(emit: EmitMap, record: Any) -> list[Any]:
    if emit.for_each is None:
        return [record]
    try:
        items = expressions.interpret(emit.for_each, record)
    except Exception:
        return []
    return [{"item": item, "record": record} for item in (items if isinstance(items, list) else [items])][:1000]


def _short(error: Exception) -> str:
    return str(error)[:300] if isinstance(error, (Mismatch, ExpressionError)) else type(error).__name__


def _checked_key(emit: EmitMap, root: Any) -> str | None:
    if emit.when is not None and not expressions.truthy(expressions.interpret(emit.when, root)):
        return None
    return _key_or_fail(values.text(expressions.interpret(emit.key, root)))


def _key_or_fail(key: str | None) -> str:
    if key is None:
        raise Mismatch("the key is empty")
    if len(key) > MAX_KEY:
        raise Mismatch(f"the key is longer than {MAX_KEY} characters")
    return key


def _generate(stream: StreamMap, *, watch: bool = False) -> Callable[..., int]:
    """Write and build the stream's function. It returns the bytes of raw JSON that it kept."""
    w = Writer()
    w.inline["ts"] = partial(fields.write_time, w)
    w.inline["str"] = partial(fields.write_text, w)
    w.globals.update(
        {
            "Mismatch": Mismatch, "Replacement": Replacement, "dumps": orjson.dumps, "plain": _plain,
            "digest": xxh3_64_intdigest, "key_or_fail": _key_or_fail,
        }
    )  # fmt: skip
    count = len(stream.emits)
    w.line("top = cursor.top; limit = cursor.limit; last = top; ordered = cursor.ordered; first = cursor.first")
    w.line("size = 0; at = -1")
    for n in range(count):
        w.line(f"o{n} = tables[{n}]; s{n} = seen[{n}]; g{n} = s{n}.get; k{n} = skipped[{n}].add")
    with w.block("for r in records:"):
        w.line("at += 1")
        with w.block("try:"):
            w.objects.add("r")
            with w.block("if r.__class__ is not dict:"):
                w.line("raise Mismatch('the record is not an object')")
            w.line("raw = None; " + " ".join(f"a{n} = None;" for n in range(count)))
            _write_record(w, stream, watch=watch)
        with w.block("except Exception as error:"):
            w.line("reject(r, error); continue")
        _write_store(w, stream)
    w.line("cursor.top = top; cursor.ordered = ordered; cursor.first = first")
    w.line("return size")
    header = "def run(records, raws, scan, tables, seen, skipped, cursor, tombstones, replacements, reject):"
    return w.build(header)


def _write_record(w: Writer, stream: StreamMap, *, watch: bool) -> None:
    time = "None"
    if stream.cursor is not None:
        atom = w.value(stream.cursor, "r")
        if stream.cursor_kind != "time" or expressions.function_name(stream.cursor) not in ("ts", "filetime"):
            atom = w.bind(f"cursor({atom})", f"{w.function(cursor_value(stream.cursor_kind))}({atom})")
        time = w.named(atom) if stream.cursor_kind != "integer" else "None"
        with w.block(f"if {atom} is not None:"):
            if stream.ascending:
                w.line(f"if first is None: first = {atom}")
                w.line(f"if {atom} < last: ordered = False")
                w.line(f"last = {atom}")
            w.line(f"if {atom} > top: top = {atom} if {atom} < limit else limit")
    if stream.filter is not None:
        kept = w.named(w.value(stream.filter, "r"))
        w.line(f"if not {kept} and {kept}.__class__ not in _NUMBERS: continue")
    if stream.tombstone is not None:
        dead = w.named(w.value(stream.tombstone, "r"))
        w.line(f"gone = bool({dead}) or {dead}.__class__ in _NUMBERS")
    for n, emit in enumerate(stream.emits):
        if emit.for_each is not None:
            _write_items(w, n, emit, mortal=stream.tombstone is not None)
        else:
            own = time if emit.primary else "None"
            _write_emit(w, n, emit, "r", own, mortal=stream.tombstone is not None, watch=watch)


def _write_items(w: Writer, n: int, emit: EmitMap, *, mortal: bool) -> None:
    assert emit.for_each is not None
    items = w.named(w.value(emit.for_each, "r"))
    w.line(f"a{n} = []; i{n} = []")
    w.line(f"items{n} = {items} if {items}.__class__ is list else () if {items} is None else ({items},)")
    with w.block(f"for item in (() if gone else items{n}):" if mortal else f"for item in items{n}:"):
        root = w.name()
        w.line(f"{root} = {{'item': item, 'record': r}}")
        w.objects.add(root)
        w.remember(root, _FIELD_ITEM, "item")
        w.remember(root, _FIELD_RECORD, "r")
        _write_emit(w, n, emit, root, "None", mortal=False)
    if emit.group is not None:
        root = w.name()
        w.line(f"{root} = {{'item': None, 'record': r}}")
        w.objects.add(root)
        w.remember(root, _FIELD_RECORD, "r")
        w.line(f"group{n} = {fields.write_field(w, emit.group, root)}")


def _write_emit(w: Writer, n: int, emit: EmitMap, root: str, time: str, *, mortal: bool, watch: bool = False) -> None:
    """`mortal`: a record may be a tombstone, told by the local `gone`."""
    if emit.when is None:
        _write_row(w, n, emit, root, time, mortal=mortal, watch=watch)
        return
    wanted = w.named(w.value(emit.when, root))
    with w.block(f"if {wanted} or {wanted}.__class__ in _NUMBERS:"):
        _write_row(w, n, emit, root, time, mortal=mortal, watch=watch)


def _write_row(w: Writer, n: int, emit: EmitMap, root: str, time: str, *, mortal: bool, watch: bool) -> None:
    key = w.named(fields.write_tree(w, "text", emit.key, root))
    w.line(f"if {key} is None or len({key}) > {MAX_KEY}: key_or_fail({key})")
    if not mortal:
        _write_once(w, n, emit, root, key, time, watch=watch)
        return
    if emit.dies:
        w.line(f"if gone: a{n} = ({key},)")
    with w.block("if not gone:"):
        _write_once(w, n, emit, root, key, time, watch=watch)


def _write_once(w: Writer, n: int, emit: EmitMap, root: str, key: str, time: str, *, watch: bool) -> None:
    """An asset that a thousand findings name is one row: what this run wrote already is passed over."""
    if not is_remembered(emit):
        _write_tuple(w, n, emit, root, key, time)
        return
    atoms = [w.value(one.tree, root) for one in emit.columns if one is not None and one.tree is not None]
    w.line(f"q{n} = hash(dumps(({', '.join([key, *atoms])},), default=plain))")
    with w.block(f"if g{n}({key}) != q{n}:"):
        _write_tuple(w, n, emit, root, key, time)
    if watch:
        w.line(f"else: k{n}({key})")


def is_remembered(emit: EmitMap) -> bool:
    """Whether rows of it that were written already are passed over."""
    return not emit.keeps_raw and emit.group is None


def _write_tuple(w: Writer, n: int, emit: EmitMap, root: str, key: str, time: str) -> None:
    atoms = [fields.write_field(w, one, root) if one is not None else "None" for one in emit.columns]
    mapped = [key, *(atom for atom in atoms if atom != "None")]
    # Names of the columns in use tell two mappings apart that put the same values into different columns.
    salt = crc32(",".join(one.field.name for one in emit.columns if one is not None).encode())
    w.line(f"h = digest(dumps(({salt}, {', '.join(mapped)}))) - {2**63}")
    if not emit.keeps_raw:
        _write_keep(w, n, emit, key, atoms, time, "None")
        return
    with w.block("if raw is None:"):
        # orjson's result holds on to its work space of some kilobytes; a copy does not.
        w.line("raw = raws[at] if raws is not None else b'%b' % dumps(r, default=plain)")
    _write_keep(w, n, emit, key, atoms, time, "raw")


def _write_keep(w: Writer, n: int, emit: EmitMap, key: str, atoms: list[str], time: str, raw: str) -> None:
    row = f"({key}, {', '.join([*atoms, time, 'h', 'scan', raw])})"
    if emit.for_each is None:
        w.line(f"a{n} = {row}")
    elif is_remembered(emit):
        w.line(f"a{n}.append({row}); i{n}.append(q{n})")
    else:
        w.line(f"a{n}.append({row})")


def _write_store(w: Writer, stream: StreamMap) -> None:
    """After all of a record's rows could be made, hand them out."""
    for n, emit in enumerate(stream.emits):
        name = emit.entity.name
        remember = f"s{n}[row[0]] = q{n}; " if is_remembered(emit) and emit.for_each is None else ""
        if emit.for_each is not None:
            with w.block(f"for row in a{n}:"):
                w.line(f"o{n}[row[0]] = row")
            if is_remembered(emit):
                w.line(f"s{n}.update(zip([row[0] for row in a{n}], i{n}))")
            if emit.group is not None:
                _write_group(w, n, emit)
            continue
        with w.block(f"if a{n} is not None:"):
            if stream.tombstone is not None and emit.dies:
                with w.block("if gone:"):
                    w.line(f"tombstones.setdefault({name!r}, []).append(a{n}[0])")
                    w.line(f"o{n}.pop(a{n}[0], None); s{n}.pop(a{n}[0], None)")
                with w.block("else:"):
                    w.line(f"row = a{n}; {remember}o{n}[row[0]] = row")
            else:
                w.line(f"row = a{n}; {remember}o{n}[row[0]] = row")
    if any(emit.keeps_raw for emit in stream.emits):
        w.line("if raw is not None: size += len(raw)")


def _write_group(w: Writer, n: int, emit: EmitMap) -> None:
    assert emit.group is not None
    with w.block(f"if group{n} is not None:"):
        w.line(f"replacements.append(Replacement({emit.entity.name!r}, {emit.group.field.name!r}, group{n},")
        w.line(f"    [row[0] for row in a{n}]))")
