"""A Connector and a plan become streams that can run; every expression is parsed here, before any request.

Errors name the place in the manifest and what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from towline.api.connector import ConnectorSpec
from towline.api.explain import explain
from towline.api.manifest import Emit, Stream
from towline.contract import Plan, StreamPlan
from towline_connectors import entities
from towline_connectors.engine import check, check_reading, expressions
from towline_connectors.engine.errors import ConfigInvalid, InvalidManifest
from towline_connectors.engine.expressions import ExpressionError, Node
from towline_connectors.engine.stream_map import EmitMap, StreamMap, parse_emit
from towline_connectors.engine.values import Mismatch
from towline_connectors.engine.window import FILES

T = TypeVar("T")
JOB_CREATED_AT = "job_created_at"
ROOT = "root:"  # cursor taken from a directory's root DSE


@dataclass(frozen=True, slots=True)
class CompiledStream:
    """A stream with its plan."""

    spec: Stream
    plan: StreamPlan
    map: StreamMap

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def entities(self) -> list[str]:
        return [emit.entity.name for emit in self.map.emits]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a run needs: the manifest and the streams of the plan, in the manifest's order."""

    spec: ConnectorSpec
    streams: tuple[CompiledStream, ...]


def load_spec(manifest: dict[str, Any]) -> ConnectorSpec:
    """Raises InvalidManifest."""
    try:
        return ConnectorSpec.model_validate(manifest)
    except ValidationError as error:
        raise InvalidManifest("; ".join(explain(error, at="spec")[:3])) from None


def compile_plan(plan: Plan) -> Compiled:
    """Raises InvalidManifest for mistakes in the Connector, ConfigInvalid for those in the Integration."""
    spec = load_spec(plan.manifest)
    known = {stream.name: stream for stream in spec.streams or []}
    for wanted in plan.streams:
        if wanted.name not in known:
            raise ConfigInvalid(
                f"Connector {plan.connector} has no stream {wanted.name}; it has {', '.join(sorted(known)) or 'none'}."
            )
    plans = {wanted.name: wanted for wanted in plan.streams}
    _refuse(check.problems(spec))
    streams = [
        compile_stream(stream, plans[name], plan)
        for name, stream in known.items()
        if name in plans and stream.emit and _is_wanted(stream, plan)
    ]
    return Compiled(spec, tuple(streams))


def _is_wanted(stream: Stream, plan: Plan) -> bool:
    """Whether the stream's condition over config holds."""
    if stream.when is None:
        return True
    wanted = _at(f"streams[{stream.name}].when", partial(expressions.compile_expression, stream.when))
    try:
        return expressions.truthy(wanted({"config": plan.config}))
    except Mismatch as error:
        raise ConfigInvalid(f"streams[{stream.name}].when cannot be computed: {error}; check spec.config.") from None


def check_manifest(spec: ConnectorSpec) -> None:
    """Parse everything in a Connector. Raises InvalidManifest at the first mistake."""
    _refuse(manifest_problems(spec))


def manifest_problems(spec: ConnectorSpec) -> list[str]:
    """Every mistake in a Connector of the right shape: its place and what to write instead."""
    found = check.problems(spec)
    for stream in spec.streams or []:
        found += check_reading.problems(stream, spec)
        if not stream.emit:
            continue
        try:
            _compile(stream, {}, None)
        except InvalidManifest as error:
            found.append(error.message)
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InvalidManifest(problems[0])


def compile_stream(stream: Stream, own: StreamPlan, plan: Plan) -> CompiledStream:
    override = {name: text if text.startswith("=") else f"={text}" for name, text in own.mapping.items()}
    fields = {field.name for emit in stream.emit or [] for field in _entity(stream, emit).fields}
    for name, text in override.items():
        if name not in fields:
            raise ConfigInvalid(
                f"mapping: stream {stream.name} fills no entity that has a field {name};"
                f" fields are {', '.join(sorted(fields))}."
            )
        _own(f"mapping of field {name} in stream {stream.name}", partial(expressions.parse, text))
    kept = None
    if own.filter:
        kept = _own(f"filter of stream {stream.name}", lambda: expressions.parse(own.filter or ""))
    return CompiledStream(stream, own, _compile(stream, override, kept))


def _own(place: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ExpressionError as error:
        raise ConfigInvalid(f"The Integration's {place} is wrong: {error.sentence}") from None


def _at(place: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ExpressionError as error:
        raise InvalidManifest(f"{place}{error.where}: {error.sentence}") from None


def _entity(stream: Stream, emit: Emit) -> entities.Entity:
    try:
        return entities.get(emit.entity)
    except KeyError as error:
        raise InvalidManifest(f"streams[{stream.name}].emit: {error.args[0]}.") from None


def _raw_emit(stream: Stream) -> str:
    """The entity that the record is about, which keeps its raw JSON: the one that refers to the others."""
    for emit in stream.emit or []:
        if emit.raw:
            return emit.entity
    plain = [emit for emit in stream.emit or [] if emit.for_each is None] or list(stream.emit or [])
    others = {emit.entity for emit in plain}
    for emit in reversed(plain):
        refs = {f.ref for f in _entity(stream, emit).fields if f.type == "ref" and f.name in (emit.fields or {})}
        if refs & (others - {emit.entity}):
            return emit.entity
    return plain[0].entity


def _compile(stream: Stream, override: dict[str, Any], kept: Node | None) -> StreamMap:
    place = f"streams[{stream.name}]"
    owner = _raw_emit(stream)
    emits: list[EmitMap] = []
    mortal = stream.sync.deletes.entities if stream.sync.deletes else None
    for emit in stream.emit or []:
        entity = _entity(stream, emit)
        dies = None if mortal is None else emit.entity in mortal
        keeps = emit.entity == owner and emit.raw is not False
        emits.append(
            _at(
                f"{place}.emit[{emit.entity}]",
                partial(parse_emit, emit, entity, override, keeps_raw=keeps, primary=emit.entity == owner, dies=dies),
            )
        )
    sync = stream.sync
    dead = sync.deletes.tombstone if sync.deletes else None
    cursor = None
    if sync.cursor and sync.cursor not in (JOB_CREATED_AT, FILES) and not sync.cursor.startswith(ROOT):
        cursor = _at(f"{place}.sync.cursor", lambda: expressions.parse(sync.cursor or ""))
    kind = {"Integer": "integer", "GeneralizedTime": "generalized"}.get(sync.format or "", "time")
    return StreamMap(
        emits=tuple(emits),
        filter=kept,
        tombstone=_at(f"{place}.sync.deletes.tombstone", lambda: expressions.parse(dead)) if dead else None,
        cursor=cursor,
        cursor_kind=kind,
        ascending=sync.order == "Ascending" and not stream.partitions,
    )
