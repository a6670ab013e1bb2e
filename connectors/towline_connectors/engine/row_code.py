"""The Python that maps a stream's records: one function, which looks at each record once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from zlib import crc32

import orjson
from xxhash import xxh3_64_intdigest

from towline_connectors.engine import expressions, fields
from towline_connectors.engine.expressions import Node, Writer
from towline_connectors.engine.stream_map import MAX_KEY, EmitMap, StreamMap, cursor_value, is_remembered, key_or_fail
from towline_connectors.engine.values import Mismatch, plain
from towline_connectors.sinks.base import Replacement

_FIELD_ITEM: Node = {"type": "field", "children": [], "value": "item"}
_FIELD_RECORD: Node = {"type": "field", "children": [], "value": "record"}


def generate(stream: StreamMap, *, watch: bool = False) -> Callable[..., int]:
    """Write and build the stream's function. It returns the bytes of raw JSON that it kept."""
    w = Writer()
    w.inline["ts"] = partial(fields.write_time, w)
    w.inline["str"] = partial(fields.write_text, w)
    w.globals.update(
        {
            "Mismatch": Mismatch, "Replacement": Replacement, "dumps": orjson.dumps, "plain": plain,
            "digest": xxh3_64_intdigest, "key_or_fail": key_or_fail,
        }
    )  # fmt: skip
    count = len(stream.emits)
    w.line("top = cursor.top; limit = cursor.limit; last = top; ordered = cursor.ordered; first = cursor.first")
    w.line("size = 0; at = -1")
    for n in range(count):
        w.line(f"o{n} = tables[{n}]; s{n} = seen[{n}]; g{n} = s{n}.get; skip{n} = skipped[{n}].add")
    with w.block("for r in records:"):
        w.line("at += 1")
        with w.block("try:"):
            w.objects.add("r")
            with w.block("if r.__class__ is not dict:"):
                w.line("raise Mismatch('the record is not an object')")
            w.line("raw = None; " + " ".join(f"a{n} = None;" for n in range(count)))
            if watch:
                w.line(" ".join(f"passed{n} = None;" for n in range(count)))
            _write_record(w, stream, watch=watch)
        with w.block("except Exception as error:"):
            w.line("reject(r, error); continue")
        _write_store(w, stream)
        if watch:  # as late as this: a record that does not map is not passed over, it says nothing
            for n in range(count):
                w.line(f"if passed{n} is not None: skip{n}(passed{n})")
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
        w.line(f"else: passed{n} = {key}")


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
