"""One run of one integration: streams one after another, each fetched, mapped and written at the same time.

`run` never raises: whatever happens becomes a RunResult whose reason and message a person can act on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from towline.api.conditions import Reason
from towline.contract import Plan, RunResult, StreamResult
from towline_connectors.engine import expressions, interpolate, window
from towline_connectors.engine.apart import SessionApart, SinkApart
from towline_connectors.engine.compile import Compiled, CompiledStream, compile_plan
from towline_connectors.engine.errors import (
    ConfigInvalid,
    DeadlineExceeded,
    DestinationFull,
    DestinationUnavailable,
    Disrupted,
    EngineError,
    InvalidManifest,
    PermissionDenied,
    PolicyViolation,
    SchemaMismatch,
    SkipStream,
    Superseded,
)
from towline_connectors.engine.interpolate import Secrets
from towline_connectors.engine.mapping import cursor_value
from towline_connectors.engine.source import Page, Reading, Setup, Source
from towline_connectors.engine.writer import StreamWriter, Tally
from towline_connectors.sinks import base
from towline_connectors.sinks.base import Session, Sink, StreamState

log = logging.getLogger("towline.run")

LEAD = 8  # turns of the event loop in which the next request gets under way before a page is mapped
STOP_MARGIN = 15.0  # seconds before the plan's deadline at which a run stops by itself, to leave a good result
_OF_ONE_STREAM = (PermissionDenied, SchemaMismatch, ConfigInvalid, PolicyViolation)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream is. `note` is a sentence, when there is something to say: waiting, retrying."""

    stream: str
    read: int = 0
    upserted: int = 0
    deleted: int = 0
    rejected: int = 0
    full: bool = False
    note: str = ""


class Stop:
    """Asks a run, from any thread or signal handler, to stop between batches."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    def request(self) -> None:
        self._asked.set()
        for listener in list(self._listeners):
            listener()

    @property
    def requested(self) -> bool:
        return self._asked.is_set()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)
        if self.requested:
            listener()


@dataclass(slots=True)
class _Counted:
    """A stream's result while it is being counted."""

    name: str
    read: int = 0
    upserted: int = 0
    deleted: int = 0
    rejected: int = 0
    checkpoint: str | None = None
    full: bool = False
    skipped: str | None = None


@dataclass(slots=True)
class _Ended:
    """What the streams came to."""

    streams: list[_Counted] = field(default_factory=list)
    failure: EngineError | None = None
    notes: list[str] = field(default_factory=list)
    http: dict[str, int] = field(default_factory=dict)

    def fail(self, error: EngineError) -> None:
        self.failure = self.failure or error


def run(
    plan: Plan,
    secrets: Mapping[str, str],
    sink: Sink | None,
    *,
    pod_uid: str = "",
    credentials_at: str = "the Secret",
    progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
    ca_bundle: str | None = None,
    proxy: str | None = None,
    reroute: str | None = None,
    files_root: str | None = None,
    apart: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> RunResult:
    """Carry out a plan. `secrets` has the credentials by key; `sink` may be None in mode Check.

    With `apart` the destination is written by a process of its own; it is forked first thing, so call `run` before
    starting threads. `reroute` (http://HOST:PORT) takes all requests instead of the hosts that they name, for replays;
    `loop` makes the event loop, where it is not asyncio's own. `files_root` is the only folder that reports are read
    from; None leaves it to the config.
    `progress` is called from another thread. Expected failures and bugs alike come back as the result's reason."""
    runner = _Runner(
        plan,
        Secrets(secrets, credentials_at),
        pod_uid,
        progress or (lambda _p: None),
        stop or Stop(),
        ca_bundle,
        proxy,
        reroute,
        clock,
        files_root,
    )
    ended = _Ended()
    thresholds = gc.get_threshold()
    child = SinkApart(sink) if apart and sink is not None else None
    try:
        # Pages hold no cycles; looking for some after each 700 objects costs a tenth of the time.
        gc.set_threshold(100_000, 20, 100)
        with asyncio.Runner(loop_factory=loop) as loops:
            loops.run(runner.run(child or sink, ended))
    except EngineError as error:
        ended.fail(error)
    except base.SinkError as error:
        ended.fail(_of_sink(error))
    except Exception as error:
        log.exception("the run failed unexpectedly")
        bug = EngineError(
            f"The connector failed with {type(error).__name__}, which is a bug in Towline or its connector;"
            " the log of the pod tells more."
        )
        ended.fail(bug)
    finally:
        gc.set_threshold(*thresholds)
    try:
        return runner.close(ended)
    finally:
        if child is not None:
            child.close()


async def check(
    plan: Plan, secrets: Mapping[str, str], *, deadline: float, ca_bundle: str | None = None, proxy: str | None = None
) -> None:
    """The check of mode Check alone, in the event loop that runs. No wait goes beyond `deadline`. Raises EngineError."""
    kept = Secrets(secrets, "the Secret that spec.credentials.secretRef names")
    runner = _Runner(plan, kept, "", lambda _p: None, Stop(), ca_bundle, proxy, None, lambda: datetime.now(UTC))
    source = runner._open(compile_plan(plan), deadline)
    try:
        await source.check()
    finally:
        await source.close()


def _of_sink(error: base.SinkError) -> EngineError:
    if isinstance(error, base.Superseded):
        return Superseded(str(error))
    if error.full:
        return DestinationFull(str(error))
    return DestinationUnavailable(str(error)) if error.transient else ConfigInvalid(str(error))


@dataclass(slots=True)
class _Runner:
    plan: Plan
    secrets: Secrets
    pod_uid: str
    progress: Callable[[Progress], None]
    stop: Stop
    ca_bundle: str | None
    proxy: str | None
    reroute: str | None
    clock: Callable[[], datetime]
    files_root: str | None = None
    session: Session | None = None

    async def run(self, sink: Sink | None, ended: _Ended) -> None:
        begun = time.monotonic()
        compiled = compile_plan(self.plan)
        deadline = begun + max(self.plan.deadline_seconds - STOP_MARGIN, self.plan.deadline_seconds * 0.5)
        source = self._open(compiled, deadline)
        halt = _Halt(self.stop, deadline)
        try:
            if self.plan.mode == "Check":
                await halt.guard(source.check())
                return
            if sink is None:
                raise InvalidManifest("A sync needs a destination.")
            with ThreadPoolExecutor(1, thread_name_prefix="writer") as pool:
                await self._streams(compiled, source, sink, halt, pool, ended)
        finally:
            ended.http = getattr(source, "counts", {})
            await source.close()

    def _open(self, compiled: Compiled, deadline: float) -> Source:
        scope = {"config": self.plan.config, "secret": self.secrets}
        setup = Setup(
            spec=compiled.spec,
            text=lambda template: interpolate.fill(template, scope),
            value=lambda value: interpolate.evaluate(value, scope),
            allowed_hosts=tuple(self.plan.allowed_hosts),
            ca_bundle=self.ca_bundle,
            proxy=self.proxy,
            reroute=self.reroute,
            files_root=self.files_root,
            deadline=deadline,
            progress=lambda message: self.progress(Progress("", note=message)),
        )
        if compiled.spec.ldap is not None:
            from towline_connectors.engine import ldap

            return ldap.open_source(setup)
        if compiled.spec.files is not None:
            from towline_connectors.engine import files

            return files.open_source(setup, scope)
        from towline_connectors.engine import http_source

        return http_source.open_source(setup, scope)

    async def _streams(
        self, compiled: Compiled, source: Source, sink: Sink, halt: _Halt, pool: ThreadPoolExecutor, ended: _Ended
    ) -> None:
        loop = asyncio.get_running_loop()
        open_session = partial(sink.open, self.plan.integration, self.plan.connector, self.plan.sync, self.pod_uid)
        self.session = await loop.run_in_executor(pool, open_session)
        states = await loop.run_in_executor(pool, self.session.states)
        for stream in compiled.streams:
            try:
                await self._stream(stream, source, states.get(stream.name) or StreamState(), halt, pool, ended)
            except _OF_ONE_STREAM as error:
                if isinstance(error, PermissionDenied) and stream.spec.optional:
                    self._skip(stream, error.message, ended)
                    continue
                error.message = f"Stream {stream.name}: {error.message}"
                ended.fail(error)
            except SkipStream as skip:
                self._skip(stream, skip.why, ended)

    def _skip(self, stream: CompiledStream, why: str, ended: _Ended) -> None:
        _of(stream, ended).skipped = why[:256]
        ended.notes.append(f"{stream.name} was left out: {why}")

    async def _stream(
        self,
        stream: CompiledStream,
        source: Source,
        state: StreamState,
        halt: _Halt,
        pool: ThreadPoolExecutor,
        ended: _Ended,
    ) -> None:
        assert self.session is not None
        result = _of(stream, ended)
        origin = await halt.guard(source.origin(stream.spec))
        decision = window.decide(
            stream.spec.sync,
            stream.plan,
            state,
            origin,
            asked_full=self.plan.mode == "Full" or stream.plan.full,
            run_id=self.plan.sync.uid,
            now=self.clock(),
        )
        result.full = decision.full

        def notify(tally: Tally) -> None:
            result.read, result.upserted, result.deleted = tally.read, tally.upserted, tally.deleted
            result.rejected = tally.rejected
            self.progress(
                Progress(stream.name, tally.read, tally.upserted, tally.deleted, tally.rejected, decision.full)
            )

        writer = StreamWriter(stream, decision, origin, state, self.session, self.plan.sync.uid, notify)
        scope: dict[str, Any] = {
            "config": self.plan.config,
            "secret": self.secrets,
            "stream": {"name": stream.name, "permission": stream.spec.permission},
            "window": {"start": decision.window.start, "full": decision.window.full, "now": decision.window.now},
        }
        reading = Reading(
            stream=stream.spec,
            window=decision.window,
            text=lambda template: interpolate.fill(template, scope),
            job=decision.job,
            cursor_of=_cursor_of(stream),
        )
        notify(writer.tally)

        async def work(call: Callable[..., None], *arguments: Any) -> None:
            if isinstance(self.session, SessionApart):
                call(*arguments)  # mapping alone; a thread would only contend for the interpreter
            else:
                await asyncio.get_running_loop().run_in_executor(pool, partial(call, *arguments))

        try:
            await _pump(source.read(reading), writer, halt, work)
        finally:
            result.checkpoint = (writer.checkpoint or "")[:256] or None
            result.rejected = writer.tally.rejected
        if writer.kept_deletions:
            ended.notes.append(
                f"{stream.name}: nothing was deleted, because {writer.tally.rejected} records could not be read"
            )

    def close(self, ended: _Ended) -> RunResult:
        """The result, written to the destination as the run's record as well."""
        result = self._result(ended)
        if self.session is not None:
            try:
                self.session.finish(result)
            except base.SinkError as error:
                log.warning("the run's record could not be written: %s", error)
            finally:
                with suppress(base.SinkError):
                    self.session.close()
        return result

    def _result(self, ended: _Ended) -> RunResult:
        failure = ended.failure
        reason, message, retry = Reason.COMPLETED, "", None
        if failure is not None:
            reason, message = failure.reason, failure.message
            retry = None if failure.retry_after is None else min(86400, int(failure.retry_after) + 1)
        elif any(stream.skipped for stream in ended.streams):
            reason = Reason.PARTIALLY_COMPLETED
        if failure is None:
            message = _summary(self.plan, ended)
        return RunResult(
            sync_uid=self.plan.sync.uid[:64],
            attempt=self.plan.sync.attempt,
            pod_uid=self.pod_uid[:64],
            reason=reason,
            message=message[:600],
            retry_after_seconds=retry,
            streams=[StreamResult(**asdict(stream)) for stream in ended.streams[:50]],
            http=dict(sorted(ended.http.items())[:16]),
        )


def _summary(plan: Plan, ended: _Ended) -> str:
    if plan.mode == "Check":
        return "The system takes the credentials."
    read = sum(stream.read for stream in ended.streams)
    upserted = sum(stream.upserted for stream in ended.streams)
    deleted = sum(stream.deleted for stream in ended.streams)
    rejected = sum(stream.rejected for stream in ended.streams)
    parts = [f"{read} records read, {upserted} rows new or changed, {deleted} deleted"]
    if rejected:
        parts.append(f"{rejected} records rejected")
    return "; ".join([", ".join(parts), *ended.notes]) + "."


def _of(stream: CompiledStream, ended: _Ended) -> _Counted:
    for known in ended.streams:
        if known.name == stream.name:
            return known
    made = _Counted(stream.name)
    ended.streams.append(made)
    return made


def _cursor_of(stream: CompiledStream) -> Callable[[Any], str | None]:
    expression = stream.spec.sync.cursor
    if stream.map.cursor is None or expression is None:
        return lambda _record: None
    convert, cursor = cursor_value(stream.map.cursor_kind), expressions.compile_expression(expression)

    def cursor_of(record: Any) -> str | None:
        found = convert(cursor(record))
        return None if found is None else window.render(str(found), stream.spec.sync)

    return cursor_of


class _Halt:
    """Ends what is awaited when the run has to stop."""

    def __init__(self, stop: Stop, deadline: float) -> None:
        self._stop = stop
        self._deadline = deadline
        self._event = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is gone: the run has ended
                loop.call_soon_threadsafe(self._event.set)

        stop.listen(wake)

    def check(self) -> None:
        """Raises Disrupted or DeadlineExceeded when it is time."""
        if self._stop.requested:
            raise Disrupted("The run was asked to stop; what was committed stays, the next run goes on from there.")
        if time.monotonic() >= self._deadline:
            raise DeadlineExceeded(
                "The run's time is over; what was committed stays, the next run goes on from there."
                " spec.job.activeDeadlineSeconds gives it more time"
            )

    async def guard(self, work: Any) -> Any:
        """Await `work`, but no longer than the run may last."""
        task = asyncio.ensure_future(work)
        waker = asyncio.ensure_future(self._event.wait())
        try:
            left = max(0.0, self._deadline - time.monotonic())
            await asyncio.wait({task, waker}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            self.check()
            return await task
        finally:
            waker.cancel()
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


Work = Callable[..., Any]  # awaits a call of the writer, in its thread or at once


async def _pump(pages: AsyncIterator[Page], writer: StreamWriter, halt: _Halt, work: Work) -> None:
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
            page = await fetching
        fetching = None
        await work(writer.finish)
    except EngineError as error:
        if not isinstance(error, (PolicyViolation, Superseded)):
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


async def _next(pages: AsyncIterator[Page], halt: _Halt) -> Page | None:
    try:
        page: Page = await halt.guard(anext(pages))
    except StopAsyncIteration:
        return None
    return page
