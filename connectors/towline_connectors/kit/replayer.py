"""Runs a connector against a recording: each stream by itself, without credentials and without waiting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from towline.api.connector import ConnectorSpec
from towline.contract import EXIT_CODES, ExitCode, Plan, RunResult, StreamPlan, SyncIdentity
from towline_connectors.engine.run import Stop, run
from towline_connectors.kit import adapting, dummies, sharing
from towline_connectors.kit.clock import SkippingLoop
from towline_connectors.kit.collect import Collector
from towline_connectors.kit.har import began
from towline_connectors.kit.recorded import Manifest, pattern
from towline_connectors.kit.replay import Recording, Replay, replaying

SHOWN = 3  # requests that a message names
MAX_URL = 2000  # characters; what is longer names no host


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """What became of one stream. `absent`: nothing of what it is about was recorded, neither its own requests nor,
    where it is read piece by piece, those of its pieces. `covered`: it was answered."""

    name: str
    result: RunResult
    records: list[dict[str, Any]]
    unanswered: tuple[str, ...]
    covered: bool
    absent: bool
    left: Mapping[tuple[str, str], int]

    @property
    def good(self) -> bool:
        return not self.unanswered and EXIT_CODES.get(self.result.reason) is ExitCode.OK

    @property
    def rejected(self) -> int:
        return sum(stream.rejected for stream in self.result.streams)

    @property
    def problem(self) -> str:
        """Why it failed, as a sentence; empty when it did not."""
        if self.unanswered:
            named = list(dict.fromkeys(_short(request) for request in self.unanswered))
            more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
            return f"the recording has no answer to {', '.join(named[:SHOWN])}{more}"
        return "" if self.good else f"{self.result.reason}: {self.result.message}"


def replay(
    name: str,
    spec: ConnectorSpec,
    recording: Recording,
    *,
    config: Mapping[str, Any],
    streams: Sequence[str],
    lenient: bool,
    chosen: bool = False,
) -> Iterator[StreamOutcome]:
    """One outcome a stream, as they end. `config` is complete (`prepared`). The recording's time is the run's time.
    With `chosen` the streams are read whatever settings they hang on."""
    manifest = adapting.fitted(spec.wire(), config, recording.entries, lenient=lenient)
    if chosen:
        for each in manifest.get("streams") or []:
            each.pop("when", None)
    values = dummies.secrets(spec)
    moment = began(recording.entries) or datetime.now(UTC)
    with replaying(recording, lenient=lenient) as server:
        for number, stream in enumerate(streams):
            stop = Stop()
            own = next(each for each in manifest["streams"] if each["name"] == stream)
            others = sharing.of_others(own, manifest["streams"], config, recording.entries)
            parents = sharing.parents(own, manifest["streams"])
            server.begin(_aliases(manifest, config, recording), stop.request, others, parents)
            plan = _plan(name, manifest, stream, number, config, recording, moment)
            sink = Collector()
            result = run(
                plan, values, sink, reroute=server.url, stop=stop, clock=lambda: moment, loop=SkippingLoop
            )  # fmt: skip
            yield _outcome(stream, spec, result, sink, server)


def prepared(
    spec: ConnectorSpec, recording: Recording, given: Mapping[str, Any], *, lenient: bool = False
) -> dict[str, Any]:
    """The settings: those given, the defaults, what the recording shows, and dummies. ValueError names a setting for
    which nothing of these fits."""
    known = {**given, **adapting.report(spec, given, recording.entries)}
    known |= sharing.inferred(spec, known, recording.entries)
    known |= adapting.choices(spec, known, recording.entries, lenient=lenient)
    return dummies.settings(spec, known, adapting.needed(spec, known, recording.entries))


def _outcome(
    stream: str, spec: ConnectorSpec, result: RunResult, sink: Collector, server: Replay
) -> StreamOutcome:  # fmt: skip
    own = next(each for each in spec.streams or [] if each.name == stream)
    own_paths = _patterns(own.wire())
    answered = [path for path in server.paths if own.file or any(each.search(path) for each in own_paths)]
    # Ids alone, which a stream with details shares with others, are nothing of what it is about.
    about = _patterns(own.details.wire()) if own.details is not None and not own.details.into else own_paths
    mapped = {(stream, emit.entity): frozenset(emit.fields or {}) for emit in own.emit or []}
    return StreamOutcome(
        name=stream,
        result=result,
        records=list(sink.records(mapped)),
        unanswered=tuple(server.unanswered),
        covered=bool(answered),
        absent=server.unknown > 0 and not any(each.search(path) for path in answered for each in about),
        left=server.left(),
    )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _patterns(part: Manifest) -> list[re.Pattern[str]]:
    """What the paths of all requests in a part of a manifest look like."""
    return [pattern("/" + path.partition("?")[0].lstrip("/")) for path in adapting.paths(part)]


def _short(request: str) -> str:
    """A request without the long queries that engines make."""
    return request if len(request) <= 120 else f"{request.partition('?')[0]}?…"


def _aliases(manifest: Manifest, config: Mapping[str, Any], recording: Recording) -> dict[str, str]:
    """The token's address in the recording, which is often that of another tenant."""
    url = (manifest.get("http", {}).get("auth") or {}).get("tokenURL")
    if not isinstance(url, str):
        return {}
    path = unquote(urlsplit(adapting.filled(url, config)).path)
    recorded = adapting.token_path(path, recording.entries)
    return {path: recorded} if recorded else {}


def _plan(
    name: str,
    manifest: Manifest,
    stream: str,
    number: int,
    config: Mapping[str, Any],
    recording: Recording,
    moment: datetime,
) -> Plan:
    named = [adapting.filled(text, config) for _place, text in dummies.texts(manifest) if len(text) <= MAX_URL]
    hosts = {_host(text) for text in named if "://" in text} | set(recording.hosts())
    identity = SyncIdentity(
        uid=f"replay-{number}", name="replay", namespace="replay", attempt=1, created=moment.isoformat()
    )
    return Plan(
        sync=identity,
        integration="replay/recording",
        streams=[StreamPlan(name=stream)],
        config=dict(config),
        connector=name,
        manifest=manifest,
        allowed_hosts=sorted(host for host in hosts if host),
        deadline_seconds=30 * 86400,
    )
