"""Runs bundled connectors as a pod would: the manifest, a plan, credentials, a destination."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp import web

from towline.api.connector import Connector
from towline.contract import Plan, RunResult, StreamPlan, StreamResult, SyncIdentity
from towline.core.config import with_defaults
from towline_connectors.catalogue import manifests
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink

_numbers = count(1)


def connector(name: str) -> Connector:
    return Connector.model_validate(yaml.safe_load(manifests()[name].read_text(encoding="utf-8")))


@dataclass
class Integration:
    """One integration into one SQLite file; each `sync` is a new SyncJob."""

    connector: str
    config: dict[str, Any]
    secrets: dict[str, str]
    database: Path
    streams: list[str] | None = None
    ca: Path | None = None
    reroute: str | None = None  # http://HOST:PORT of a replay, instead of the real hosts
    reread: Callable[[], Mapping[str, str]] | None = None  # the credentials as they are now
    results: list[RunResult] = field(default_factory=list)

    def plan(self, mode: str = "Incremental", deadline: int = 600, **overrides: Any) -> Plan:
        made = connector(self.connector)
        number = next(_numbers)
        names = self.streams or [stream.name for stream in made.spec.streams or []]
        config = with_defaults(made.spec.config_schema or {}, self.config)
        addresses = [str(value) for key, value in config.items() if key in ("url", "host") or key.endswith("_url")]
        hosts = [urlsplit(each if "://" in each else f"//{each}").hostname for each in addresses]
        return Plan.model_validate(
            {
                "sync": SyncIdentity(
                    uid=f"uid-{number}",
                    name=f"sync-{number}",
                    namespace="default",
                    attempt=1,
                    created=datetime.now(UTC).isoformat(timespec="microseconds"),
                ),
                "integration": "default/test",
                "mode": mode,
                "streams": [StreamPlan(name=name, full=mode == "Full") for name in names],
                "config": config,
                "connector": self.connector,
                "manifest": made.spec.wire(),
                "allowed_hosts": [host for host in hosts if host],
                "deadline_seconds": deadline,
                **overrides,
            }
        )

    def sync(self, mode: str = "Incremental", **overrides: Any) -> RunResult:
        plan = self.plan(mode, **overrides)
        sink = None if mode == "Check" else open_sink(str(self.database))
        ca = str(self.ca) if self.ca else None
        result = run(plan, self.secrets, sink, ca_bundle=ca, reroute=self.reroute, reread=self.reread)
        self.results.append(result)
        return result

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.database)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values)]
        finally:
            connection.close()

    def one(self, sql: str, *values: Any) -> dict[str, Any]:
        found = self.rows(sql, *values)
        assert len(found) == 1, f"{len(found)} rows instead of one"
        return found[0]

    def count(self, table: str, where: str = "deleted_time IS NULL") -> int:
        return int(self.one(f"SELECT count(*) AS n FROM {table} WHERE {where}")["n"])


def stream(result: RunResult, name: str) -> StreamResult:
    return next(each for each in result.streams if each.name == name)


def listed(text: str | None) -> list[str]:
    """A column of texts as SQLite holds it."""
    return [str(each) for each in json.loads(text)] if text else []


@contextmanager
def served(application: web.Application) -> Iterator[str]:
    """The application on a free port of this machine, in a thread of its own; gives its URL."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application, access_log=None)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
