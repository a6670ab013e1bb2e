"""Several iterators at once, handed on in their order, so that checkpoints are the same however fast each one is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
AHEAD = 2  # items that one iterator may be ahead of what is handed on


class _Worker:
    def __init__(self, start: Callable[[], AsyncIterator[T]]) -> None:
        self.queue: asyncio.Queue[tuple[bool, object]] = asyncio.Queue(AHEAD)
        self.task = asyncio.ensure_future(self._run(start))

    async def _run(self, start: Callable[[], AsyncIterator[T]]) -> None:
        items = start()
        try:
            async for item in items:
                await self.queue.put((True, item))
            await self.queue.put((False, None))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await self.queue.put((False, error))
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                with suppress(RuntimeError):
                    await close()


async def in_order(starts: AsyncIterator[Callable[[], AsyncIterator[T]]], limit: int) -> AsyncGenerator[T, None]:
    """The items of all iterators, one iterator after another; `limit` are under way. The first error ends all."""
    workers: deque[_Worker] = deque()
    more = True
    try:
        while more or workers:
            while more and len(workers) < limit:
                start = await anext(starts, None)
                if start is None:
                    more = False
                else:
                    workers.append(_Worker(start))
            if not workers:
                return
            going, item = await workers[0].queue.get()
            if going:
                yield item  # type: ignore[misc]  # what the iterators give
                continue
            if isinstance(item, BaseException):
                raise item
            await workers.popleft().task
    finally:
        for worker in workers:
            worker.task.cancel()
        for worker in workers:
            with suppress(asyncio.CancelledError, Exception):
                await worker.task
        close = getattr(starts, "aclose", None)
        if close is not None:
            await close()
