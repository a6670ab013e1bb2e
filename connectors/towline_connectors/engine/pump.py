"""Fetching and writing at the same time: the next page is fetched while the one before is mapped and written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from time import perf_counter, thread_time
from typing import Any

from towline_connectors.engine.errors import CursorLost, EngineError, PolicyViolation, SkipStream, Superseded
from towline_connectors.engine.halt import Halt
from towline_connectors.engine.source import Page
from towline_connectors.engine.writer import StreamWriter

LEAD = 8  # turns of the event loop in which the next request gets under way before a page is mapped

Work = Callable[..., Any]  # awaits a call of the writer, in its thread or at once


async def pump(pages: AsyncIterator[Page], writer: StreamWriter, halt: Halt, work: Work) -> None:
    """Fetch a page while the one before is mapped and written; never more than two are in memory."""
    fetching: asyncio.Future[Page | None] | None = None
    try:
        page = await _next(pages, halt)
        while page is not None:
            committed_first = page.job is not None and not page.records  # an export job is committed, then polled
            if committed_first:
                await work(writer.page, page)
            fetching = asyncio.ensure_future(_next(pages, halt))
            if not committed_first:
                for _ in range(LEAD):
                    await asyncio.sleep(0)
                await work(writer.page, page)
            halt.check()
            begun, busy = perf_counter(), thread_time()
            page = await fetching
            writer.starve(perf_counter() - begun - (thread_time() - busy))
        fetching = None
        await work(writer.finish)
    except EngineError as error:
        if not isinstance(error, (PolicyViolation, Superseded)):
            await work(writer.flush)
        raise
    except (CursorLost, SkipStream):
        await work(writer.flush)
        raise
    finally:
        if fetching is not None and not fetching.done():
            fetching.cancel()
        if fetching is not None:
            await asyncio.wait({fetching})
            if not fetching.cancelled():
                fetching.exception()  # the error that ended the stream is the one that counts
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()


async def _next(pages: AsyncIterator[Page], halt: Halt) -> Page | None:
    try:
        page: Page = await halt.guard(anext(pages))
    except StopAsyncIteration:
        return None
    return page
