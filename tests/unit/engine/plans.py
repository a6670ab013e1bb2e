"""Plans and destinations for the engine's tests."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.unit.engine.vendor import Vendor

from towline.contract import Plan, RunResult, StreamPlan, SyncIdentity
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink


def spec(url: str, streams: list[dict[str, Any]], **http: Any) -> dict[str, Any]:
    health = http.pop("health", {"request": {"path": "/ok"}})
    retry = {"attempts": 3, "backoff": {"initial": "0s", "cap": "0s"}}
    return {
        "title": "Example",
        "version": "1.0.0",
        "category": "Other",
        "capabilities": ["Pull"],
        "credentials": [{"key": "token"}, {"key": "client_id"}, {"key": "client_secret"}, {"key": "user"}],
        "configSchema": {"type": "object", "properties": {"tenant": {"type": "string"}, "url": {"type": "string"}}},
        "http": {"baseURL": url, "retry": retry, "auth": {"kind": "Bearer", "value": "${secret.token}"}, **http},
        "health": health,
        "streams": streams,
    }


def users(**changes: Any) -> dict[str, Any]:
    """A stream of users, read page by page by offset."""
    return {
        "name": "users",
        "request": {"path": "/users"},
        "records": "=items",
        "paginate": {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10},
        "sync": {"mode": "Full", "deletes": {"completeScan": "Always"}},
        "emit": [{"entity": "user", "key": "=id", "fields": {"name": "=name", "email_addr": "=lower(mail)"}}],
        **changes,
    }


def plan(manifest: dict[str, Any], **changes: Any) -> Plan:
    uid = changes.pop("uid", "sync-1")
    every = (
        [] if changes.get("mode") == "Check" else [StreamPlan(name=stream["name"]) for stream in manifest["streams"]]
    )
    streams = changes.pop("streams", None) or every  # as the operator plans them
    values: dict[str, Any] = {
        "sync": SyncIdentity(
            uid=uid,
            name=uid,
            namespace="test",
            attempt=changes.pop("attempt", 1),
            created=changes.pop("created", "2026-01-01T00:00:00Z"),
        ),
        "integration": "test/example",
        "streams": streams,
        "connector": "example",
        "manifest": manifest,
        "allowed_hosts": ["127.0.0.1"],
        **changes,
    }
    return Plan(**values)


SECRETS = {"token": "tok-123", "client_id": "cid", "client_secret": "csecret-456", "user": "u"}


def sync(plan_: Plan, database: Path, **options: Any) -> RunResult:
    return run(plan_, options.pop("secrets", SECRETS), open_sink(str(database)), pod_uid="pod-1", **options)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as db:
        return db.execute(sql).fetchall()


LIVE = "select source_key from users where deleted_time is null order by source_key"


def live(database: Path) -> list[str]:
    """Keys of the users that are there."""
    return [key for (key,) in rows(database, LIVE)]


def read(vendor: Vendor, database: Path, *streams: dict[str, Any], **changes: Any) -> RunResult:
    """One run of these streams."""
    return sync(plan(spec(vendor.url, list(streams)), **changes), database)
