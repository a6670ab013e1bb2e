"""Streams that are read piece by piece: for each record of a parent, each value of a list, each span of time.

Pieces are read side by side and handed on in their order, so what is committed is always all up to one of them; a
run that was cut off goes on behind the last whole piece.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from towline.api.manifest import Stream
from towline.api.paging import Partition
from towline_connectors.engine import expressions, interpolate, values
from towline_connectors.engine.caller import Caller
from towline_connectors.engine.errors import (
    ConfigInvalid,
    InvalidManifest,
    PermissionDenied,
    SchemaMismatch,
    SkipStream,
)
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.chain import Chain
from towline_connectors.engine.reading.details import DEFAULT_CONCURRENCY
from towline_connectors.engine.reading.sidebyside import in_order
from towline_connectors.engine.reading.spans import Spans
from towline_connectors.engine.source import Page, Reading
from towline_connectors.engine.values import Mismatch

COMMIT_EVERY = 1_000  # records, and
COMMIT_PIECES = 50  # pieces, after which the place is committed
MAX_GATHERED = 500_000  # records of one piece that become one record


@dataclass(slots=True)
class Place:
    """One piece: the names in ${partition.…}, and of spans of time their two ends."""

    names: dict[str, Any] = field(default_factory=dict)
    spans: Spans | None = None
    optional: bool = False
    keys: tuple[Any, ...] = ()  # of each level, without what is only kept of a parent

    @property
    def identity(self) -> str:
        """Text that is the same for this piece in another run."""
        return orjson.dumps(self.keys, default=str).decode()


class Partitioned:
    """A stream with partitions in one run. `streams` has all of the connector's, for parents."""

    def __init__(self, stream: Stream, streams: Mapping[str, Stream], caller: Caller, scope: Scope) -> None:
        self._stream = stream
        self._streams = streams
        self._caller = caller
        self._scope = scope
        self._levels = list(stream.partitions or [])
        self._lost = 0  # parents without a key, or that could not be read: their children are not seen

    async def pages(self, reading: Reading) -> AsyncGenerator[Page, None]:
        """Raises what a chain raises; pieces that are optional and denied or gone make the reading incomplete."""
        behind = str(reading.job.get("behind")) if reading.job and reading.job.get("behind") else None
        if behind is not None:
            passed = False
            async with aclosing(self._from(reading, behind)) as pages:
                async for page in pages:
                    passed = True
                    yield page
            if passed:
                return
        async with aclosing(self._from(reading, None)) as pages:
            async for page in pages:
                yield page

    async def _from(self, reading: Reading, behind: str | None) -> AsyncGenerator[Page, None]:
        """Pages of the pieces behind one of them, or of all. Nothing at all when that piece does not come."""
        records = pieces = 0
        found = behind is None

        async def starts() -> AsyncIterator[Callable[[], AsyncIterator[Page | Place]]]:
            nonlocal found
            async with aclosing(self._places(0, Place(), reading)) as places:
                async for place in places:
                    if found:
                        yield partial(self._piece, place, reading)
                    elif place.identity == behind:
                        found = True

        limit = self._stream.concurrency or DEFAULT_CONCURRENCY
        async with aclosing(in_order(starts(), limit)) as items:
            async for item in items:
                if isinstance(item, Page):
                    records += len(item.records)
                    yield item
                    continue
                pieces += 1
                if records >= COMMIT_EVERY or pieces >= COMMIT_PIECES:
                    records = pieces = 0
                    yield Page(
                        job={"behind": item.identity, "window": reading.window.start, "since": reading.window.since}
                    )
        if found:
            why = f"{self._lost} records of its parents could not be read" if self._lost else None
            yield Page(job={}, incomplete=why)

    async def _piece(self, place: Place, reading: Reading) -> AsyncGenerator[Page | Place, None]:
        """One piece's pages, then the piece itself."""
        chain = Chain(self._stream, self._caller, reading.cursor_of)
        gathered: list[Any] = []
        gather = bool(self._stream.gather)
        try:
            async with aclosing(self._read(place, chain, reading)) as pages:
                async for page in pages:
                    if not gather:
                        yield replace(page, records=_marked(page.records, place.names), cursor=None)
                        continue
                    gathered += page.records
                    if len(gathered) > MAX_GATHERED:
                        raise SchemaMismatch(
                            f"Stream {self._stream.name} gathers more than {MAX_GATHERED:,} records of one piece."
                        )
                    if page.unreadable:
                        yield Page(unreadable=page.unreadable)
        except (PermissionDenied, ConfigInvalid, SkipStream) as error:
            gone = isinstance(error, ConfigInvalid) and error.status not in (404, 410)
            if gone or not place.optional:
                raise
            yield Page(incomplete=f"a part of it was left out: {getattr(error, 'message', error)}")
        else:
            if gather:
                yield Page([{"partition": place.names, "items": gathered}])
        yield place

    def _read(self, place: Place, chain: Chain, reading: Reading) -> AsyncGenerator[Page, None]:
        scope = {**self._scope, "partition": place.names}
        if place.spans is None:
            return chain.pages(scope, reading.window)
        return place.spans.pages(chain, scope, reading.window)

    async def _places(self, level: int, above: Place, reading: Reading) -> AsyncGenerator[Place, None]:
        if level == len(self._levels):
            yield above
            return
        spec = self._levels[level]
        async with aclosing(self._of_level(spec, above, reading)) as own_places:
            async for own in own_places:
                optional = above.optional or bool(spec.optional)
                spans = own.spans or above.spans
                merged = Place({**above.names, **own.names}, spans, optional, (*above.keys, *own.keys))
                async with aclosing(self._places(level + 1, merged, reading)) as places:
                    async for place in places:
                        yield place

    async def _of_level(self, spec: Partition, above: Place, reading: Reading) -> AsyncGenerator[Place, None]:
        if spec.kind == "Dates":
            for spans in Spans.split_up(spec, self._stream.sync, reading.window):
                yield Place(spans.names(), spans, keys=(spans.names()["start"],))
        elif spec.kind == "List":
            for batch in _batches(self._listed(spec, above), spec.batch):
                yield Place({spec.name: batch}, keys=(batch,))
        else:
            waiting: list[Place] = []
            async with aclosing(self._parents(spec, above, reading)) as parents:
                async for place in parents:
                    if spec.batch is None:
                        yield place
                        continue
                    waiting.append(place)
                    if len(waiting) == spec.batch:
                        yield _together(spec.name, waiting)
                        waiting = []
            if waiting:
                yield _together(spec.name, waiting)

    def _listed(self, spec: Partition, above: Place) -> list[Any]:
        scope = {**self._scope, "partition": above.names}
        found = interpolate.evaluate(spec.values, scope)
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    async def _parents(self, spec: Partition, above: Place, reading: Reading) -> AsyncGenerator[Place, None]:
        parent = self._streams.get(spec.stream or "")
        if parent is None:
            raise InvalidManifest(
                f"streams[{self._stream.name}].partitions[{spec.name}].stream: there is no stream {spec.stream}."
            )
        key = expressions.compile_expression(spec.key or "@")
        kept = {name: expressions.compile_expression(text) for name, text in (spec.keep or {}).items()}
        wanted = expressions.compile_expression(spec.when) if spec.when else None
        scope = {
            **self._scope,
            "partition": above.names,
            "stream": {"name": parent.name, "permission": parent.permission},
        }
        async for page in Chain(parent, self._caller).pages(scope, reading.window):
            self._lost += page.unreadable
            for record in page.records:
                try:
                    if wanted is not None and not expressions.truthy(wanted(record)):
                        continue
                    found = values.text(key(record))
                    more = {name: take(record) for name, take in kept.items()}
                except Mismatch:
                    found = None
                if found is None:
                    self._lost += 1
                    continue
                yield Place({spec.name: found, **more}, keys=(found,))


def _together(name: str, places: list[Place]) -> Place:
    keys = [one.names[name] for one in places]
    return Place({name: keys}, keys=(keys,))


def _batches(items: list[Any], size: int | None) -> Iterable[Any]:
    if size is None:
        return items
    return [items[at : at + size] for at in range(0, len(items), size)]


def _marked(records: list[Any], names: dict[str, Any]) -> list[Any]:
    """Each record with the piece that it belongs to."""
    return [
        {**record, "partition": names} if isinstance(record, dict) else {"value": record, "partition": names}
        for record in records
    ]
