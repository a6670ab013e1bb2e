"""One run of one integration: streams one after another, each fetched, mapped and written at the same time.

`run` never raises: whatever happens becomes a RunResult whose reason and message a person can act on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from towline.api.connector import ConnectorSpec
from towline.contract import Plan, RunResult
from towline_connectors.engine import clock as clocks
from towline_connectors.engine import expressions, interpolate, window
from towline_connectors.engine.addresses import EntryError, Gate, gate
from towline_connectors.engine.apart import SessionApart, SinkApart
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.compile import Compiled, CompiledStream, compile_plan
from towline_connectors.engine.errors import (
    ConfigInvalid,
    CursorLost,
    EngineError,
    InvalidManifest,
    PermissionDenied,
    PolicyViolation,
    SchemaMismatch,
    SkipStream,
)
from towline_connectors.engine.halt import Halt, Stop
from towline_connectors.engine.interpolate import Secrets
from towline_connectors.engine.outcome import Ended, of_sink, result_of
from towline_connectors.engine.pump import pump
from towline_connectors.engine.redact import Redactor
from towline_connectors.engine.source import Reading, Setup, Source
from towline_connectors.engine.stream_map import cursor_value
from towline_connectors.engine.writer import StreamWriter, Tally
from towline_connectors.sinks import base
from towline_connectors.sinks.base import Session, Sink, StreamState

if TYPE_CHECKING:
    from towline_connectors.engine.accounts import Accounts

__all__ = ["Progress", "Stop", "check", "run"]

log = logging.getLogger("towline.run")

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
    expected: int | None = None  # records that the system announced


def run(
    plan: Plan,
    secrets: Mapping[str, str],
    sink: Sink | None,
    *,
    pod_uid: str = "",
    credentials_at: str = "the Secret",
    reread: Callable[[], Mapping[str, str]] | None = None,
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
    `reread` tells the credentials as they are now, for systems that reject them in the middle of a run.
    `progress` is called from another thread. Expected failures and bugs alike come back as the result's reason."""
    runner = _Runner(
        plan,
        Secrets(secrets, credentials_at, reread),
        pod_uid,
        progress or (lambda _p: None),
        stop or Stop(),
        ca_bundle,
        proxy,
        reroute,
        clock,
        files_root,
    )
    ended = Ended()
    thresholds = gc.get_threshold()
    child: SinkApart | None = None
    try:
        compiled = compile_plan(plan)
        if apart and sink is not None:
            child = SinkApart(sink, {stream.name: stream.map for stream in compiled.streams})
        # Pages hold no cycles; looking for some after each 700 objects costs a tenth of the time.
        gc.set_threshold(100_000, 20, 100)
        with asyncio.Runner(loop_factory=loop) as loops:
            loops.run(runner.run(compiled, child or sink, ended))
    except EngineError as error:
        ended.fail(error)
    except base.SinkError as error:
        ended.fail(of_sink(error))
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


def _blanked(result: RunResult, secrets: Secrets) -> RunResult:
    """The last filter before a result is written anywhere: no sentence of ours holds a secret, and if one did, it
    would stand in a status for all to read."""
    redact = Redactor(secrets.reveal_all()).text
    streams = [one.model_copy(update={"skipped": one.skipped and redact(one.skipped)}) for one in result.streams]
    return result.model_copy(update={"message": redact(result.message), "streams": streams})


async def check(
    plan: Plan,
    secrets: Mapping[str, str],
    *,
    deadline: float,
    ca_bundle: str | None = None,
    proxy: str | None = None,
    accounts: Accounts | None = None,
    spec: ConnectorSpec | None = None,
) -> Lifetime | None:
    """The check of mode Check alone, in the event loop that runs. Waits end at `deadline`. Raises EngineError.

    `spec` is the manifest where it was parsed and found good before.

    Returns how long the system's certificates are valid; None where it showed none."""
    kept = Secrets(secrets, "the Secret that spec.credentials.secretRef names")
    runner = _Runner(plan, kept, "", lambda _p: None, Stop(), ca_bundle, proxy, None, lambda: datetime.now(UTC))
    runner.accounts = accounts
    source = runner._open(Compiled(spec, ()) if spec is not None else compile_plan(plan), deadline)
    try:
        try:
            await source.check()
        except EngineError as error:
            error.message = Redactor(kept.reveal_all()).text(error.message)
            raise
        found: Lifetime | None = getattr(source, "certificate", None)
        return found
    finally:
        await source.close()


def _gate(plan: Plan) -> Gate:
    try:
        return gate(plan.egress)
    except EntryError as error:
        raise InvalidManifest(f"The plan's egress: {error}.") from None


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
    accounts: Accounts | None = None
    session: Session | None = None
    batches: dict[str, int] = field(default_factory=dict)  # of each stream so far

    async def run(self, compiled: Compiled, sink: Sink | None, ended: Ended) -> None:
        begun = clocks.monotonic()
        deadline = begun + max(self.plan.deadline_seconds - STOP_MARGIN, self.plan.deadline_seconds * 0.5)
        source = self._open(compiled, deadline)
        halt = Halt(self.stop, deadline)
        try:
            if self.plan.mode == "Check":
                await halt.guard(source.check())
                await self._sample(compiled, source, halt, ended)
                return
            if sink is None:
                raise InvalidManifest("A sync needs a destination.")
            with ThreadPoolExecutor(1, thread_name_prefix="writer") as pool:
                await self._streams(compiled, source, sink, halt, pool, ended)
        finally:
            ended.http = getattr(source, "counts", {})
            ended.received = getattr(source, "received", 0)
            await source.close()

    async def _sample(self, compiled: Compiled, source: Source, halt: Halt, ended: Ended) -> None:
        """Ask the streams that a check names for one page each; what fails is told and stops nothing."""
        if not compiled.streams:
            return
        from towline_connectors.engine import sample

        for stream in compiled.streams:
            found = await halt.guard(sample.one(self.plan, self.secrets, source, stream))
            counted = ended.of(stream.name)
            counted.read, counted.rejected = found.records, found.rejected
            if why := sample.trouble(found):
                counted.skipped = why[:256]
                ended.notes.append(f"{stream.name}: {why}")

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
            gate=_gate(self.plan),
            files_root=self.files_root,
            accounts=self.accounts,
            deadline=deadline,
            progress=lambda message: self.progress(Progress("", note=message)),
        )
        if compiled.spec.ldap is not None:
            from towline_connectors.engine import ldap

            return ldap.open_source(setup, scope)
        if compiled.spec.files is not None:
            from towline_connectors.engine import files

            return files.open_source(setup, scope)
        from towline_connectors.engine import http_source

        return http_source.open_source(setup, scope)

    async def _streams(
        self, compiled: Compiled, source: Source, sink: Sink, halt: Halt, pool: ThreadPoolExecutor, ended: Ended
    ) -> None:
        loop = asyncio.get_running_loop()
        open_session = partial(sink.open, self.plan.integration, self.plan.connector, self.plan.sync, self.pod_uid)
        try:
            self.session = await loop.run_in_executor(pool, open_session)
        except base.SinkError as error:
            if error.in_doubt:
                self._begun(compiled, ended)
            raise
        self._begun(compiled, ended)
        states = await loop.run_in_executor(pool, self.session.states)
        for stream in compiled.streams:
            try:
                state = states.get(stream.name) or StreamState()
                try:
                    await self._stream(stream, source, state, halt, pool, ended)
                except CursorLost:
                    # What the last run left is of no use any more: all of it, once more.
                    self.progress(
                        Progress(stream.name, note="The system forgot where the last run ended; reading all.")
                    )
                    await self._stream(stream, source, replace(state, cursor=None, job=None), halt, pool, ended)
            except _OF_ONE_STREAM as error:
                if isinstance(error, PermissionDenied) and stream.spec.optional:
                    self._skip(stream, error.message, ended)
                    continue
                error.message = f"Stream {stream.name}: {error.message}"
                ended.fail(error)
            except SkipStream as skip:
                self._skip(stream, skip.why, ended)
            except CursorLost as error:
                ended.fail(SchemaMismatch(f"Stream {stream.name}: {error or 'the system forgets where it is read'}"))

    def _begun(self, compiled: Compiled, ended: Ended) -> None:
        """A result without streams would say that nothing was written."""
        names = [stream.name for stream in compiled.streams] or [stream.name for stream in self.plan.streams]
        for name in names[:1]:  # an Integration may have asked only for streams that its config leaves out
            ended.of(name)

    def _skip(self, stream: CompiledStream, why: str, ended: Ended) -> None:
        ended.of(stream.name).skipped = why[:256]
        ended.notes.append(f"{stream.name} was left out: {why}")

    async def _stream(
        self,
        stream: CompiledStream,
        source: Source,
        state: StreamState,
        halt: Halt,
        pool: ThreadPoolExecutor,
        ended: Ended,
    ) -> None:
        assert self.session is not None
        result = ended.of(stream.name)
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
                Progress(
                    stream.name,
                    tally.read,
                    tally.upserted,
                    tally.deleted,
                    tally.rejected,
                    decision.full,
                    expected=tally.expected,
                )
            )

        after = self.batches.get(stream.name, 0)
        writer = StreamWriter(stream, decision, origin, state, self.session, self.plan.sync.uid, notify, after)
        reading = reading_of(self.plan, self.secrets, stream, decision)
        notify(writer.tally)

        async def work(call: Callable[..., None], *arguments: Any) -> None:
            if isinstance(self.session, SessionApart):
                call(*arguments)  # mapping alone; a thread would only contend for the interpreter
            else:
                await asyncio.get_running_loop().run_in_executor(pool, partial(call, *arguments))

        try:
            await pump(source.read(reading), writer, halt, work)
        finally:
            self.batches[stream.name] = writer.batches
            opaque = window.is_opaque(stream.spec.sync)
            result.checkpoint = None if opaque else (writer.checkpoint or "")[:256] or None
            result.rejected = writer.tally.rejected
        if writer.incomplete:
            kept = "; so nothing was deleted" if decision.scan_id is not None else ""
            ended.notes.append(f"{stream.name}: {writer.incomplete.rstrip('.')}{kept}")
        if writer.kept_deletions:
            ended.notes.append(
                f"{stream.name}: nothing was deleted, because {writer.tally.rejected} records could not be read"
            )

    def close(self, ended: Ended) -> RunResult:
        """The result, written to the destination as the run's record as well."""
        result = self._result(ended)
        if self.session is not None:
            try:
                self.session.finish(result)
            except base.SinkError as error:
                log.warning("the run's record could not be written: %s", error)
                ended.fail(of_sink(error))  # in a lake the last rows came with it
                result = self._result(ended)
            finally:
                with suppress(base.SinkError):
                    self.session.close()
        return result

    def _result(self, ended: Ended) -> RunResult:
        return _blanked(result_of(self.plan, self.pod_uid, ended), self.secrets)


def opened(
    plan: Plan, secrets: Mapping[str, str], *, deadline: float, ca_bundle: str | None = None, proxy: str | None = None
) -> tuple[Compiled, Source, Secrets]:
    """A plan's system, for those who only look at it; the caller closes the source. Raises EngineError."""
    kept = Secrets(secrets, "the Secret that spec.credentials.secretRef names")
    runner = _Runner(plan, kept, "", lambda _p: None, Stop(), ca_bundle, proxy, None, lambda: datetime.now(UTC))
    compiled = compile_plan(plan)
    return compiled, runner._open(compiled, deadline), kept


def reading_of(plan: Plan, secrets: Secrets, stream: CompiledStream, decision: window.Decision) -> Reading:
    """One pass over a stream, with what its texts may refer to."""
    scope: dict[str, Any] = {
        "config": plan.config,
        "secret": secrets,
        "stream": {"name": stream.name, "permission": stream.spec.permission},
        "window": {"start": decision.window.start, "full": decision.window.full, "now": decision.window.now},
    }
    return Reading(
        stream=stream.spec,
        window=decision.window,
        text=lambda template: interpolate.fill(template, scope),
        job=decision.job,
        cursor_of=_cursor_of(stream),
    )


def _cursor_of(stream: CompiledStream) -> Callable[[Any], str | None]:
    expression = stream.spec.sync.cursor
    if stream.map.cursor is None or expression is None:
        return lambda _record: None
    convert, cursor = cursor_value(stream.map.cursor_kind), expressions.compile_expression(expression)

    def cursor_of(record: Any) -> str | None:
        found = convert(cursor(record))
        return None if found is None else window.render(str(found), stream.spec.sync)

    return cursor_of
