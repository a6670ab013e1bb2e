"""A first look at an account: are the credentials taken, and does each stream answer with records that map?

One page a stream, nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from towline.contract import Plan
from towline_connectors.engine import window
from towline_connectors.engine.compile import CompiledStream
from towline_connectors.engine.errors import CursorLost, EngineError, PermissionDenied, SkipStream
from towline_connectors.engine.interpolate import Secrets
from towline_connectors.engine.mapping import Mapper
from towline_connectors.engine.run import opened, reading_of
from towline_connectors.engine.source import Source
from towline_connectors.sinks.base import StreamState


@dataclass(frozen=True, slots=True)
class Sampled:
    """What one stream answered. `failure` is None when it did; `left_out` tells why it was not asked."""

    stream: str
    records: int = 0
    rejected: int = 0
    why: str = ""  # the first record that does not map
    left_out: str = ""
    failure: EngineError | None = None


async def sample(
    plan: Plan, secrets: Mapping[str, str], *, deadline: float, ca_bundle: str | None = None, proxy: str | None = None
) -> AsyncGenerator[Sampled, None]:
    """Try the credentials, then each stream of the plan. Raises EngineError when the credentials or the whole system
    fail; what fails in one stream is that stream's."""
    compiled, source, kept = opened(plan, secrets, deadline=deadline, ca_bundle=ca_bundle, proxy=proxy)
    try:
        await source.check()
        for stream in compiled.streams:
            yield await one(plan, kept, source, stream)
    finally:
        await source.close()


async def one(plan: Plan, secrets: Secrets, source: Source, stream: CompiledStream) -> Sampled:
    """What the first page of one stream tells. Raises nothing expected."""
    if stream.spec.export is not None:
        return Sampled(stream.name, left_out="an export job of minutes would have to be made for it")
    try:
        origin = await source.origin(stream.spec)
        decision = window.decide(
            stream.spec.sync, stream.plan, StreamState(), origin, asked_full=False, run_id="", now=datetime.now(UTC)
        )
        pages: Any = source.read(reading_of(plan, secrets, stream, decision))
        async with aclosing(pages):
            page = await anext(pages, None)
    except PermissionDenied as error:
        if stream.spec.optional:
            return Sampled(stream.name, left_out=error.message)
        return Sampled(stream.name, failure=error)
    except SkipStream as skip:
        return Sampled(stream.name, left_out=skip.why)
    except CursorLost:
        return Sampled(stream.name, left_out="the system has nothing to go on from")
    except EngineError as error:
        return Sampled(stream.name, failure=error)
    if page is None:
        return Sampled(stream.name)
    mapper = Mapper(stream.map)
    out = mapper.output()
    mapper.map(page.read(page.records), page.raws, None, out)
    why = out.rejected[0][1] if out.rejected else ""
    return Sampled(stream.name, len(page.records), len(out.rejected) + page.unreadable, why)


def trouble(found: Sampled) -> str:
    """Why a stream would bring nothing, or not all: a reason and a sentence, `not tried: …`, or nothing.

    It ends up in a status, so it quotes nothing of a record: `why` stays with whoever asks from a terminal."""
    if found.failure is not None:
        return f"{found.failure.reason}: {found.failure.message.rstrip('.')}"
    if found.left_out:
        return f"not tried: {found.left_out.rstrip('.')}"
    if found.rejected:
        return f"SchemaMismatch: {found.rejected} of {found.records} records of the first page do not fit"
    return ""
