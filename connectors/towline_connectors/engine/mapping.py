"""From records to rows: one generated function for each stream, which looks at each record once.

A record maps as a whole or is rejected as a whole, with the reason; it never stops the run by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from towline_connectors.engine import expressions, fields, values
from towline_connectors.engine.expressions import ExpressionError
from towline_connectors.engine.row_code import generate
from towline_connectors.engine.stream_map import EmitMap, StreamMap, cursor_value, key_or_fail
from towline_connectors.engine.values import Mismatch, plain
from towline_connectors.sinks.base import Replacement

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


def raw_json(record: Any) -> bytes:
    """A record as it is kept. Bytes of directories become text, or hex digits."""
    try:
        return orjson.dumps(record, default=plain)
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
        self._run = generate(stream)
        self._integer = stream.cursor_kind == "integer"
        self._limit = (values.INT_MAX if self._integer else "9999") if limit is None else limit
        self.cursor = self.start()

    def start(self) -> Cursor:
        """A cursor that has seen nothing."""
        return Cursor(values.INT_MIN if self._integer else "", self._limit)

    def watch(self) -> None:
        """From now on, note which keys are passed over."""
        self._run = generate(self.stream, watch=True)

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
    return key_or_fail(values.text(expressions.interpret(emit.key, root)))
