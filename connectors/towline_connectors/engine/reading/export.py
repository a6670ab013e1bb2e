"""Asynchronous export jobs: create, commit the id, poll, fetch parts; a crash resumes where it stopped.

The job that is committed with each page is {"id", "created", "window", "done"}: `created` is None when the job
was adopted, since it is then not known what it covers up to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

from towline.api.base import seconds
from towline.api.export import Export
from towline.api.http import Request
from towline_connectors.engine import clock, expressions
from towline_connectors.engine.caller import Call, Caller, Reply
from towline_connectors.engine.errors import (
    DuplicateJob,
    EngineError,
    JobLost,
    RateLimited,
    SchemaMismatch,
    Unreachable,
)
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.fetch import Fetcher
from towline_connectors.engine.source import Page, Reading
from towline_connectors.engine.values import Mismatch

REMAKES = 2  # times that a lost or failed job is made anew in one run
DUPLICATE_WAIT = 30.0  # seconds until asking again for a job that an unnamed equal one blocks


class Exporter:
    """One export stream in one run."""

    def __init__(self, export: Export, caller: Caller, scope: Scope, fetcher: Fetcher, budget: str | None) -> None:
        self._export = export
        self._caller = caller
        self._scope = scope
        self._fetcher = fetcher
        self._budget = budget
        self._job_id = expressions.compile_expression(export.job_id)
        self._status = expressions.compile_expression(export.status.from_)
        self._parts = expressions.compile_expression(export.parts) if export.parts else None
        self._failed_parts = expressions.compile_expression(export.failed_parts) if export.failed_parts else None
        every = export.poll.every
        self._initial = float(seconds(every.initial)) if every and every.initial else 5.0
        self._cap = float(seconds(every.cap)) if every and every.cap else 60.0
        self._timeout = float(seconds(export.poll.timeout)) if export.poll.timeout else 6 * 3600.0

    async def read(self, reading: Reading, form: str) -> AsyncGenerator[Page, None]:
        job = dict(reading.job) if reading.job else None
        remakes = 0
        while True:
            if job is None:
                job = await self._create(reading)
                yield Page(job=dict(job))
            try:
                async with contextlib.aclosing(self._follow(job, form)) as pages:
                    async for page in pages:
                        yield page
                return
            except JobLost as lost:
                remakes += 1
                if remakes > REMAKES:
                    raise Unreachable(
                        f"{self._caller.host} lost or failed the export {remakes} times; try again later."
                    ) from lost
                job = None
            except (SchemaMismatch, asyncio.CancelledError) as error:
                if isinstance(error, SchemaMismatch):
                    await self._cancel(job)
                raise

    async def _create(self, reading: Reading) -> dict[str, Any]:
        until = clock.monotonic() + self._timeout
        while True:
            call = self._caller.call(self._export.create, self._scope, budget=self._budget, phase="Create")
            made: dict[str, Any] = {"created": reading.window.now, "window": reading.window.start, "done": []}
            try:
                reply = await self._caller.send(call)
            except DuplicateJob as duplicate:
                if duplicate.job_id is not None:
                    return {**made, "id": duplicate.job_id, "created": None}
                if clock.monotonic() > until:
                    raise RateLimited(
                        f"{self._caller.host} runs an equal export already; wait until it has ended.", retry_after=600
                    ) from None
                await asyncio.sleep(DUPLICATE_WAIT)
                continue
            try:
                found = self._job_id(reply.value)
            except Mismatch:
                found = None
            if found is None or found == "":
                raise SchemaMismatch(f"The answer to {call.shown} does not name the export job.")
            return {**made, "id": found}

    def _call(self, path: str, job: dict[str, Any], phase: str, part: Any = None, form: str = "JSON") -> Call:
        scope = {**self._scope, "job": job, "part": part}
        return self._caller.call(Request(path=path), scope, budget=self._budget, phase=phase, form=form)

    async def _follow(self, job: dict[str, Any], form: str) -> AsyncGenerator[Page, None]:
        """Poll and fetch until the job is done. Raises JobLost."""
        begun = clock.monotonic()
        pause = self._initial
        while True:
            call = self._call(self._export.poll.path, job, "Poll")
            reply = await self._caller.send(call)
            status = self._text(self._status, reply)
            finished = status in self._export.status.done
            if not finished and status in (self._export.status.failed or []):
                raise JobLost(f"the export ended as {status}")
            fetched = False
            if finished or self._export.stream_parts:
                for part in self._open_parts(reply, job, finished=finished):
                    async with contextlib.aclosing(self._part(part, job, form)) as pages:
                        async for page in pages:
                            yield page
                    fetched = True
            if finished:
                if self._failed_parts and self._list(self._failed_parts, reply):
                    raise JobLost("parts of the export failed")
                yield Page(job={}, cursor=job["created"])
                return
            if clock.monotonic() - begun > self._timeout:
                raise Unreachable(f"The export at {self._caller.host} is not ready after {self._timeout / 3600:g} h.")
            if fetched:
                pause = self._initial
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, self._cap)

    async def _part(self, part: Any, job: dict[str, Any], form: str) -> AsyncGenerator[Page, None]:
        """A part in pages; the last one carries that it was read."""
        call = self._call(self._export.fetch.path, job, "Fetch", part, form)
        last: Page | None = None
        async with contextlib.aclosing(self._fetcher.pieces(call)) as pieces:
            async for piece in pieces:
                if last is not None:
                    yield last
                unread = (self._caller.host, call.shown) if piece.unread else None
                last = Page(piece.records, unreadable=piece.unreadable, unread=unread)
                if piece.unreadable and not piece.records:  # perhaps all that comes of a broken part
                    yield last
                    last = None
        job["done"] = [*job["done"], part]
        yield replace(last or Page(), job=dict(job))

    def _open_parts(self, reply: Reply, job: dict[str, Any], *, finished: bool) -> list[Any]:
        if self._parts is None:
            return [part for part in (["all"] if finished else []) if part not in job["done"]]
        return [part for part in self._list(self._parts, reply) if part not in job["done"]]

    def _list(self, expression: Callable[[Any], Any], reply: Reply) -> list[Any]:
        try:
            found = expression(reply.value)
        except Mismatch:
            found = None
        return found if isinstance(found, list) else []

    def _text(self, expression: Callable[[Any], Any], reply: Reply) -> str:
        try:
            found = expression(reply.value)
        except Mismatch:
            found = None
        if found is None:
            raise SchemaMismatch(f"The answer to {self._export.poll.path} does not tell the export's status.")
        return str(found)

    async def _cancel(self, job: dict[str, Any]) -> None:
        """So that a job nobody reads does not block the account."""
        if self._export.cancel is None:
            return
        scope = {**self._scope, "job": job, "part": None}
        cancel = self._export.cancel
        call = self._caller.call(Request(path=cancel.path), scope, budget=self._budget, phase="Cancel")
        call = replace(call, method=cancel.method or "POST")
        with contextlib.suppress(EngineError, JobLost, DuplicateJob, TimeoutError):
            async with asyncio.timeout(15):
                await self._caller.send(call)
