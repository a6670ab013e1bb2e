"""Spans of time that a stream is read by, split where the vendor gives no more than so many records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from towline.api.base import seconds
from towline.api.manifest import Sync
from towline.api.paging import Partition
from towline_connectors.engine import values
from towline_connectors.engine.caller import Reply
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.chain import Chain
from towline_connectors.engine.reading.paging import reader
from towline_connectors.engine.source import Page, Window
from towline_connectors.engine.window import render

SMALLEST = 60  # seconds


class _TooMany(Exception):  # noqa: N818 - ends the reading of one span
    pass


@dataclass(frozen=True, slots=True)
class Spans:
    """From `start` up to `end`, whole seconds. Read in halves, and halves of these, where it holds too much."""

    spec: Partition
    sync: Sync
    start: datetime
    end: datetime

    @classmethod
    def split_up(cls, spec: Partition, sync: Sync, window: Window) -> Iterator[Spans]:
        """The spans of a window, each of `step`."""
        start, end = _second(window.since or window.now), _second(window.now) + timedelta(seconds=1)
        step = timedelta(seconds=seconds(spec.step)) if spec.step else end - start
        while start < end:
            until = min(start + step, end)
            yield cls(spec, sync, start, until)
            start = until

    def names(self) -> dict[str, Any]:
        return {"start": self._shown(self.start), "end": self._shown(self.end)}

    def _shown(self, moment: datetime) -> str:
        return render(values.iso(moment), self.sync)

    async def pages(self, chain: Chain, scope: Scope, window: Window) -> AsyncGenerator[Page, None]:
        length = self.end - self.start
        smallest = timedelta(seconds=seconds(self.spec.smallest) if self.spec.smallest else SMALLEST)
        splits = self.spec.cap is not None and length >= 2 * smallest and length >= timedelta(seconds=2)
        own = {**scope, "partition": {**scope.get("partition", {}), **self.names()}}
        capped = False

        told = reader(self.spec.count)

        def watch(reply: Reply, count: int) -> None:
            nonlocal capped
            if self.spec.cap is None:
                return
            known = _count(told(reply)) if self.spec.count else None
            full = known > self.spec.cap if known is not None else count >= self.spec.cap
            capped = capped or full
            if full and splits:
                raise _TooMany

        try:
            async with aclosing(chain.pages(own, window, watch)) as pages:
                async for page in pages:
                    yield page
        except _TooMany:
            middle = _second(values.iso(self.start + length / 2))
            for start, end in ((self.start, middle), (middle, self.end)):
                half = Spans(self.spec, self.sync, start, end)
                async with aclosing(half.pages(chain, scope, window)) as pages:
                    async for page in pages:
                        yield page
            return
        if capped:
            names = self.names()
            yield Page(
                incomplete=f"there are more than {self.spec.cap:,} records from {names['start']} to {names['end']},"
                " and the system gives no more of them"
            )


def _second(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)


def _count(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
