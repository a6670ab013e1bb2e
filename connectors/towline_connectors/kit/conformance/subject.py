"""One connector under test: how it is run against its simulator, and which rows that gives."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from towline.api.connector import ConnectorSpec
from towline.contract import EXIT_CODES, ExitCode, Plan, RunResult, StreamPlan, SyncIdentity
from towline_connectors import entities
from towline_connectors.engine.redact import JsonLines, Redactor
from towline_connectors.engine.run import run
from towline_connectors.kit.clock import SkippingLoop
from towline_connectors.kit.conformance.faults import Fault
from towline_connectors.kit.conformance.server import Server, serving
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Batch, Session, Sink, StreamState, Written

# When rows were written and by which run differs from run to run; when the vendor changed them does not.
_OF_THE_RUN = {"first_seen_time", "last_seen_time", "modified_time", "deleted_time", "run_id", "scan_id"}
Row = tuple[Any, ...]
Rows = dict[str, dict[str, Row]]  # table -> source key -> row


@dataclass(frozen=True, slots=True)
class Ran:
    """A run. `waited`: seconds that it would have waited."""

    result: RunResult
    waited: float

    @property
    def good(self) -> bool:
        return EXIT_CODES.get(self.result.reason) is ExitCode.OK

    @property
    def told(self) -> str:
        return f"{self.result.reason}: {self.result.message}"

    @property
    def rejected(self) -> int:
        return sum(stream.rejected for stream in self.result.streams)


@dataclass(slots=True)
class Subject:
    """`config` gives the settings that point at a URL. `outputs` gathers all that runs print, log and store."""

    name: str
    spec: ConnectorSpec
    application: Callable[[], web.Application]
    config: Callable[[str], Mapping[str, Any]]
    secrets: Mapping[str, str]
    folder: Path
    outputs: list[str] = field(default_factory=list)
    databases: list[Path] = field(default_factory=list)
    ca: str | None = None  # file with the certificate authority of the system
    port: int = 0  # the same for all cases: some rows hold the system's address

    @contextmanager
    def server(self, fault: Fault | None = None) -> Iterator[Server]:
        with serving(self.application, self.spec, fault or Fault(), self.port) as server:
            self.port = urlsplit(server.url).port or 0
            yield server

    def database(self) -> Path:
        """A new one."""
        made = Path(tempfile.mkdtemp(dir=self.folder)) / "data.db"
        self.databases.append(made)
        return made

    def run(
        self,
        server: Server,
        database: Path | None,
        *,
        mode: str = "Incremental",
        uid: str = "sync-1",
        attempt: int = 1,
        secrets: Mapping[str, str] | None = None,
        one_at_a_time: bool = False,
        writes: Writes | None = None,
    ) -> Ran:
        loops: list[SkippingLoop] = []

        def loop() -> SkippingLoop:
            loops.append(SkippingLoop(lambda: server.shared.stalled))
            return loops[-1]

        sink: Sink | None = open_sink(str(database)) if database else None
        if sink is not None and writes is not None:
            sink = Watched(sink, writes)
        values = self.secrets if secrets is None else secrets
        plan = self._plan(server.url, mode, uid, attempt, one_at_a_time)
        with _logged(self.outputs, values):
            result = run(
                plan,
                values,
                sink,
                pod_uid=f"pod-{attempt}",
                ca_bundle=self.ca,
                loop=loop,
                progress=lambda progress: self.outputs.append(progress.note) if progress.note else None,
            )
        self.outputs.append(result.model_dump_json())
        return Ran(result, loops[-1].skipped if loops else 0.0)

    def _plan(self, url: str, mode: str, uid: str, attempt: int, one_at_a_time: bool) -> Plan:
        manifest = deepcopy(self.spec.wire())
        if one_at_a_time and "http" in manifest:
            manifest["http"]["budgets"] = [{"name": "default", "concurrency": 1}]
            manifest["http"]["timeout"] = "5s"  # so that a skipped clock stays within what signatures allow
            for stream in manifest.get("streams") or []:
                stream.pop("budget", None)
        return Plan.model_validate(
            {
                "sync": SyncIdentity(
                    uid=uid, name=uid, namespace="conformance", attempt=attempt, created=_created(uid)
                ),
                "integration": "conformance/subject",
                "mode": mode,
                "streams": [StreamPlan(name=stream.name, full=mode == "Full") for stream in self.spec.streams or []],
                "config": dict(self.config(url)),
                "connector": self.name,
                "manifest": manifest,
                "allowed_hosts": [urlsplit(url).hostname],
                "deadline_seconds": 86400,
            }
        )

    def rows(self, database: Path, streams: Iterable[str] | None = None) -> Rows:
        """Live rows of each table that the connector fills, of these streams alone if they are given."""
        wanted = None if streams is None else set(streams)
        names = {emit.entity for stream in self.spec.streams or [] for emit in stream.emit or []}
        found: Rows = {}
        connection = sqlite3.connect(database)
        try:
            for name in sorted(names):
                table = entities.get(name).table
                cursor = connection.execute(f'SELECT * FROM "{table}" WHERE deleted_time IS NULL')  # noqa: S608 - ours
                columns = [column[0] for column in cursor.description]
                kept = [number for number, column in enumerate(columns) if column not in _OF_THE_RUN]
                key, stream = columns.index("source_key"), columns.index("stream")
                found[table] = {
                    str(row[key]): tuple(row[number] for number in kept)
                    for row in cursor
                    if wanted is None or row[stream] in wanted
                }
        except sqlite3.OperationalError:  # nothing was ever written
            return {entities.get(name).table: {} for name in names}
        finally:
            connection.close()
        return found


def total(rows: Rows) -> int:
    return sum(len(table) for table in rows.values())


def difference(expected: Rows, found: Rows) -> str:
    """What differs, in a few words; empty when nothing does."""
    for table, rows in expected.items():
        other = found.get(table, {})
        lost, more = rows.keys() - other.keys(), other.keys() - rows.keys()
        if lost or more:
            shown = sorted(lost or more)[0]
            return f"{table}: {len(lost)} rows lost, {len(more)} too many, for example {shown[:60]}"
        changed = [key for key, row in rows.items() if other[key] != row]
        if changed:
            return f"{table}: {len(changed)} rows differ, for example {changed[0][:60]}"
    return ""


@dataclass(slots=True)
class Writes:
    """Counts what is written; with `die_at` the process is killed right behind that write."""

    count: int = 0
    die_at: int = 0

    def around(self, write: Callable[[], Written]) -> Written:
        self.count += 1
        written = write()
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return written


class Watched:
    """A Sink whose writes are counted."""

    def __init__(self, sink: Sink, writes: Writes) -> None:
        self._sink = sink
        self._writes = writes

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return _WatchedSession(self._sink.open(integration, connector, sync, pod_uid), self._writes)


class _WatchedSession:
    def __init__(self, session: Session, writes: Writes) -> None:
        self._session = session
        self._writes = writes

    def states(self) -> dict[str, StreamState]:
        return self._session.states()

    def commit(self, batch: Batch) -> Written:
        return self._writes.around(lambda: self._session.commit(batch))

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        return self._writes.around(
            lambda: self._session.finish_scan(stream, entities, scan_id, state, max_delete_percent)
        )

    def finish(self, result: RunResult) -> None:
        self._session.finish(result)

    def close(self) -> None:
        self._session.close()


@contextmanager
def _logged(outputs: list[str], secrets: Mapping[str, str]) -> Iterator[None]:
    """Gather the engine's log as a pod prints it."""

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            outputs.append(self.format(record))

    logger, handler = logging.getLogger("towline"), Gather()
    handler.setFormatter(JsonLines(Redactor(secrets.values())))
    propagate, level = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)


def _created(uid: str) -> str:
    """Later syncs come later: `sync-2` is newer than `sync-1`."""
    number = int(uid.rpartition("-")[2])
    return datetime(2026, 1, 1, 0, 0, number % 60, tzinfo=UTC).isoformat()
